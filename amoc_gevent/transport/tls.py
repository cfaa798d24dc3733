"""TLS in memory, and the contexts that all users of a worker share.

The stream reads its socket itself, so that the kernel's arrival times are available under TLS too.
"""

import ssl
from contextlib import suppress
from pathlib import Path

import certifi

from amoc_gevent.errors import AmocError
from amoc_gevent.transport.errors import UnusableFile

Verify = bool | str
Certificate = str | tuple[str, str] | tuple[str, str, str] | None

_contexts: dict[object, ssl.SSLContext] = {}


def context(
    verify: Verify = True, cert: Certificate = None, protocols: tuple[str, ...] = ()
) -> ssl.SSLContext:
    """Return the worker's context for these settings.

    `verify` is True (trust the authorities of the system and of certifi, as requests does), False,
    or the path of a file or directory of authorities. `cert` is the path of a client certificate
    with its key, the paths of both, or these and the password of the key. `protocols` are offered
    with ALPN (RFC 7301).
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
        _load_client_certificate(made, (cert,) if isinstance(cert, str) else cert)
        made.post_handshake_auth = True
    return made


def _load_client_certificate(context: ssl.SSLContext, cert: tuple[str, ...]) -> None:
    paths, password = cert[:2], cert[2:]
    for path in paths:
        _check_readable("cert", path)

    def asked() -> str:  # without this function, OpenSSL would ask on the terminal
        if not password:
            raise _EncryptedKeyError
        return password[0]

    named = ", ".join(paths)
    try:
        context.load_cert_chain(paths[0], paths[1] if len(paths) > 1 else None, asked)
    except _EncryptedKeyError:
        raise UnusableFile(
            "TLS: unusable certificate file",
            f"cert={named}: the key is encrypted, give cert=(certificate, key, password)",
        ) from None
    except ssl.SSLError as error:
        more = ", or the password is wrong" if password else ""
        raise _unusable("cert", named, error, more) from None


class _EncryptedKeyError(AmocError):
    """A key needs a password, and none is given."""


def _check_readable(argument: str, path: str) -> None:
    """Open a file. OpenSSL does not tell which of several files it could not open."""
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise UnusableFile(
            "TLS: unreadable certificate file", f"{argument}={path}: {error.strerror}"
        ) from None


def _unusable(argument: str, paths: str, error: ssl.SSLError, more: str = "") -> UnusableFile:
    reason = (error.reason or f"no certificate with its key{more}").replace("_", " ").lower()
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
    def owes(self) -> bool:
        """Whether there are bytes to send: answers to what the peer asked after the handshake."""
        return self._outgoing.pending > 0

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
