"""TLS for the server side as a filter of bytes, so that the socket stays the connection's own."""

import ssl
from contextlib import suppress

READ_SIZE = 1 << 16


class TlsFilter:
    """Turns what came from the socket into plain bytes and plain bytes into what goes to it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._greeted = False

    def decrypt(self, data: bytes) -> bytes | None:
        """Return the plain bytes in `data`: b"" for none yet, None at the end of the stream.

        Raises ssl.SSLError when the client speaks no TLS; `pending` then holds the alert.
        """
        self._incoming.write(data)
        plain = []
        try:
            if not self._greeted:
                self._tls.do_handshake()
                self._greeted = True
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
        """Return what has to go to the client by itself: handshake, tickets, alerts."""
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Return the record that announces the end of the stream."""
        if self._greeted:
            with suppress(ssl.SSLError):  # the client's own goodbye is not waited for
                self._tls.unwrap()
        return self._outgoing.read()
