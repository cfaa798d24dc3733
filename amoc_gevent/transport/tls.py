"""TLS over a stream: contexts shared by all users of a worker, records kept in memory.

The socket stays ours to read, so that the kernel's arrival times hold for TLS as well.
"""

import ssl
from contextlib import suppress
from pathlib import Path

import certifi

from amoc_gevent.transport.errors import UnusableFile

Verify = bool | str
Certificate = str | tuple[str, str] | None

_contexts: dict[object, ssl.SSLContext] = {}


def context(
    verify: Verify = True, cert: Certificate = None, protocols: tuple[str, ...] = ()
) -> ssl.SSLContext:
    """Return the worker's context for these settings.

    `verify` is True (the authorities of the system and those of certifi, which requests trusts),
    False, or the path of a file or folder of authorities. `cert` is the path of the client's
    certificate with its key, or the paths of both. `protocols` are offered by ALPN (RFC 7301).
    Raises UnusableFile when a file cannot be used.
    """
    key = (verify, cert, protocols)
    found = _contexts.get(key)
    if found is None:
        found = _contexts[key] = _make(verify, cert)
        if protocols:
            found.set_alpn_protocols(list(protocols))
    return found


def _make(verify: Verify, cert: Certificate) -> ssl.SSLContext:
    if isinstance(verify, str):
        folder = Path(verify).is_dir()
        if not folder:
            _check_readable("verify", verify)
        try:
            made = ssl.create_default_context(
                cafile=None if folder else verify, capath=verify if folder else None
            )
        except ssl.SSLError as error:
            raise _unusable("verify", verify, error) from None
    else:
        made = ssl.create_default_context()
        if verify:
            made.load_verify_locations(certifi.where())
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if cert is not None:
        paths = (cert,) if isinstance(cert, str) else cert
        for path in paths:
            _check_readable("cert", path)
        try:
            made.load_cert_chain(*paths)
        except ssl.SSLError as error:
            raise _unusable("cert", ", ".join(paths), error) from None
    return made


def _check_readable(argument: str, path: str) -> None:
    """Open a file, as OpenSSL does not say which of several it could not."""
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise UnusableFile(
            "TLS: unreadable certificate file", f"{argument}={path}: {error.strerror}"
        ) from None


def _unusable(argument: str, paths: str, error: ssl.SSLError) -> UnusableFile:
    reason = (error.reason or "no certificate with its key").replace("_", " ").lower()
    return UnusableFile("TLS: unusable certificate file", f"{argument}={paths}: {reason}")


class Tls:
    """One stream's records: what came from the peer goes in, what is for the peer comes out."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(
        self, context: ssl.SSLContext, host: str, session: ssl.SSLSession | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=host, session=session
        )

    def handshake(self) -> bool:
        """Go on with the handshake; true when it is done. Raises ssl.SSLError."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def outgoing(self) -> bytes:
        """Take the bytes that the peer must get."""
        return self._outgoing.read()

    def feed(self, data: bytes) -> None:
        """Take in what the peer sent; b"" is the end of its stream."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def encrypt(self, data: bytes) -> bytes:
        """Return the records that carry `data`."""
        view = memoryview(data)
        while view:
            view = view[self._object.write(view) :]  # one record at a time
        return self._outgoing.read()

    def decrypt(self, size: int) -> bytes | None:
        """Return up to `size` bytes that came in, None when more is needed, b"" at the end."""
        try:
            return self._object.read(size)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    @property
    def buffered(self) -> bool:
        """Whether records are here that were not read yet."""
        return self._incoming.pending > 0 or self._object.pending() > 0

    @property
    def session(self) -> ssl.SSLSession | None:
        """What the next stream to this peer resumes with, tickets of TLS 1.3 included."""
        return self._object.session

    @property
    def resumed(self) -> bool:
        """Whether the handshake was an abbreviated one."""
        return bool(self._object.session_reused)

    @property
    def version(self) -> str:
        """Which TLS was agreed on, such as "TLSv1.3"."""
        return self._object.version() or ""

    def channel_binding(self) -> bytes | None:
        """Return tls-unique (RFC 5929), which TLS 1.3 does not have."""
        return None if self.version == "TLSv1.3" else self._object.get_channel_binding()

    def goodbye(self) -> bytes:
        """Return the closing alert; OpenSSL lets no session be resumed that ended without it."""
        with suppress(ssl.SSLError):  # the peer's own alert is not waited for
            self._object.unwrap()
        return self._outgoing.read()
