"""The server that all users of a scenario connect to, and how."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from amoc_gevent.errors import UsageError
from amoc_gevent.transport import Certificate, Verify
from amoc_gevent.xmpp.stream.reader import STANZA_MAX

TlsMode = Literal["starttls", "direct", "none"]
MODES = ("starttls", "direct", "none")
TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server and how to connect to it.

    `host` defaults to the SRV records of the JID's domain (RFC 6120 3.2), `port` to 5222, or 5223
    for direct TLS. `tls` is "starttls", "direct" or "none". `verify` is True, False or the path of
    a CA file. `cert` is the path of a client certificate, or the paths of certificate and key, for
    SASL EXTERNAL. `source_address` is the local address, or several to use in turn. `timeout`
    (seconds) limits each login step and each request, `stanza_max` (bytes) the size of a stanza.
    """

    host: str | None = None
    port: int | None = None
    tls: TlsMode = "starttls"
    verify: Verify = True
    cert: Certificate = None
    source_address: str | Sequence[str] | None = None
    timeout: float = TIMEOUT
    stanza_max: int = STANZA_MAX
    _taken: "count[int]" = field(default_factory=count, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.tls not in MODES:
            raise UsageError(f"tls={self.tls!r}: choose one of {', '.join(MODES)}")
        if self.timeout <= 0:
            raise UsageError(f"timeout={self.timeout!r}: seconds, more than 0")

    def source(self) -> str | None:
        """Return the local address to connect from, the next one if there are several."""
        if self.source_address is None or isinstance(self.source_address, str):
            return self.source_address
        return self.source_address[next(self._taken) % len(self.source_address)]
