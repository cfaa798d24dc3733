"""A TLS stream: records are encrypted in memory and sent through the stream's own socket."""

import _socket
import ssl
from contextlib import suppress

from amoc_gevent import clock
from amoc_gevent.transport.errors import CLOSED, TransportError, from_os_error
from amoc_gevent.transport.stream import READ_SIZE, Transport
from amoc_gevent.transport.tls import Tls
from amoc_gevent.transport.waiting import Waiter

PIECE = 1 << 18
"""Bytes to encrypt and send at a time, so that a big body is not in memory twice."""


class TlsTransport(Transport):
    """A Transport that encrypts what it sends. Call `handshake` before anything else."""

    __slots__ = ("_tls",)

    def __init__(self, sock: "_socket.socket", waiter: Waiter, peer: str, tls: Tls) -> None:
        super().__init__(sock, waiter, peer)
        self._tls = tls

    def handshake(self) -> None:
        """Do the TLS handshake. Raises TransportError with the reason if it fails."""
        tls = self._tls
        began, lag = clock.monotonic(), 0.0
        try:
            while not tls.handshake():
                super().send(tls.outgoing())
                tls.feed(super().receive())
                lag += self.lag
        except ssl.SSLEOFError:
            raise TransportError(CLOSED, f"{self.peer} in the TLS handshake") from None
        except ssl.SSLError as error:
            self._try_to_send(tls.outgoing())  # the alert that says why
            raise from_os_error(error, self.peer) from None
        self.tls_us = int((clock.monotonic() - began - lag) * 1e6)
        super().send(tls.outgoing())

    def send(self, data: bytes) -> None:
        """Encrypt and send all of `data`, like `Transport.send`."""
        began = 0.0
        try:
            for start in range(0, len(data), PIECE):
                super().send(self._tls.encrypt(data[start : start + PIECE]))
                began = began or self.sent
        except ssl.SSLError as error:
            raise from_os_error(error, self.peer) from None
        finally:
            self.sent = began or self.sent

    def push(self, data: bytes) -> None:
        """Encrypt and send `data` without waiting, like `Transport.push`."""
        try:
            super().push(self._tls.encrypt(data))
        except ssl.SSLError as error:
            raise from_os_error(error, self.peer) from None

    def receive(self) -> bytes:
        """Return the content of the next records, like `Transport.receive`."""
        tls = self._tls
        try:
            data = tls.decrypt(READ_SIZE) if tls.buffered else None
            while data is None:
                if tls.owes:
                    super().send(tls.outgoing())
                tls.feed(super().receive())
                data = tls.decrypt(READ_SIZE)
            if tls.owes:
                self._try_to_send(tls.outgoing())
        except ssl.SSLError as error:
            raise from_os_error(error, self.peer) from None
        return data

    def poll(self) -> bytes:
        """Return the content of the records that have arrived, like `Transport.poll`."""
        tls = self._tls
        data = super().poll()
        if data or self.at_eof:
            tls.feed(data)
        found = b""
        try:
            while (data := tls.decrypt(READ_SIZE)) is not None:  # type: ignore[assignment]
                if not data:
                    self.at_eof = True
                    break
                found = found + data if found else data
        except ssl.SSLError as error:
            raise from_os_error(error, self.peer) from None
        if tls.owes:
            super().push(tls.outgoing())
        return found

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session for resumption by the next stream to the same peer, with TLS 1.3 tickets."""
        return self._tls.session

    @property
    def resumed(self) -> bool:
        """Whether the handshake resumed an earlier session."""
        return self._tls.resumed

    @property
    def version(self) -> str:
        """The version of TLS, such as "TLSv1.3"."""
        return self._tls.version

    def channel_binding(self) -> bytes | None:
        """Return the channel binding tls-unique (RFC 5929), or None with TLS 1.3."""
        return self._tls.channel_binding()

    def close(self) -> None:
        """Send close_notify, which session resumption needs, and close the stream at once."""
        if not self.closed:
            self._try_to_send(self._tls.close_notify())
            super().close()

    def _try_to_send(self, data: bytes) -> None:
        with suppress(OSError):  # the peer may be gone
            self._send(data)
