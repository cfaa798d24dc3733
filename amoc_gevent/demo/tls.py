"""Server-side TLS as a filter of bytes. The connection reads and writes the socket itself."""

import ssl
from contextlib import suppress

READ_SIZE = 1 << 16


class TlsFilter:
    """Decrypts bytes from a socket and encrypts bytes for it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._handshake_done = False

    def decrypt(self, data: bytes) -> bytes | None:
        """Return the plain bytes in `data`: b"" for none yet, None at the end of the stream.

        Raises ssl.SSLError if the client does not speak TLS; `pending` then returns the alert.
        """
        self._incoming.write(data)
        plain = []
        try:
            if not self._handshake_done:
                self._tls.do_handshake()
                self._handshake_done = True
            while part := self._tls.read(READ_SIZE):
                plain.append(part)
        except ssl.SSLWantReadError:
            return b"".join(plain)
        except ssl.SSLZeroReturnError:
            pass
        return b"".join(plain) or None

    def encrypt(self, data: bytes) -> bytes:
        """Return the records that carry `data`."""
        if data:
            self._tls.write(data)
        return self._outgoing.read()

    def pending(self) -> bytes:
        """Return bytes of TLS itself to send to the client: handshake, tickets, alerts."""
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """Return the close_notify alert (RFC 8446, 6.1)."""
        if self._handshake_done:
            with suppress(ssl.SSLError):  # do not wait for the client's alert
                self._tls.unwrap()
        return self._outgoing.read()
