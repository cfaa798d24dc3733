"""TLS in memory, and the contexts that all users of a worker share.

The stream reads its socket itself, so that the kernel's arrival times are available under TLS too.
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

    `verify` is True (trust the authorities of the system and of certifi, as requests does), False,
    or the path of a file or directory of authorities. `cert` is the path of a client certificate
    with its key, or the paths of both. `protocols` are offered with ALPN (RFC 7301).
    Raises UnusableFile if a file cannot be used.
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
    """Open a file. OpenSSL does not tell which of several files it could not open."""
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
    """The TLS state of one stream, without I/O. It turns bytes from and to the peer into data."""

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
        """Continue the handshake and return whether it is done. Raises ssl.SSLError."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def outgoing(self) -> bytes:
        """Return the bytes to send to the peer, and remove them here."""
        return self._outgoing.read()

    def feed(self, data: bytes) -> None:
        """Take in bytes of the peer; b"" is the end of its stream."""
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
        """Return up to `size` plain bytes, None if more input is needed, b"" at the end."""
        try:
            return self._object.read(size)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    @property
    def buffered(self) -> bool:
        """Whether there are records that have not been read yet."""
        return self._incoming.pending > 0 or self._object.pending() > 0

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session for resumption by the next stream to this peer, with TLS 1.3 tickets."""
        return self._object.session

    @property
    def resumed(self) -> bool:
        """Whether the handshake resumed an earlier session."""
        return bool(self._object.session_reused)

    @property
    def version(self) -> str:
        """The negotiated version of TLS, such as "TLSv1.3"."""
        return self._object.version() or ""

    def channel_binding(self) -> bytes | None:
        """Return the channel binding tls-unique (RFC 5929), or None with TLS 1.3."""
        return None if self.version == "TLSv1.3" else self._object.get_channel_binding()

    def close_notify(self) -> bytes:
        """Return the close_notify alert. OpenSSL resumes only sessions that ended with one."""
        with suppress(ssl.SSLError):  # do not wait for the peer's alert
            self._object.unwrap()
        return self._outgoing.read()
