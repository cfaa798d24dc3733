"""One client's socket, with optional TLS. It never blocks, and it knows nothing of XMPP."""

import _socket
import logging
import ssl
import struct
from collections.abc import Callable
from socket import IPPROTO_TCP, SHUT_WR, SO_LINGER, SOL_SOCKET, TCP_NODELAY
from typing import TYPE_CHECKING, Any

from gevent import get_hub

from amoc_gevent.demo.tls import TlsFilter

if TYPE_CHECKING:
    from gevent._types import _IoWatcher

READ, WRITE = 1, 2  # EV_READ and EV_WRITE of libev
RECEIVE_SIZE = 1 << 14
UNSENT_MAX = 64 << 20
LINGER = 2.0

log = logging.getLogger(__name__)


class Wire:
    """Calls `received` with the bytes of the client, and `ended` once when the socket is closed.

    It has no greenlet: the hub calls it. An error in `received` closes only this socket.
    """

    __slots__ = (
        "_ended",
        "_loop",
        "_muted",
        "_received",
        "_sock",
        "_timer",
        "_tls",
        "_unsent",
        "_watcher",
        "_writer",
        "closing",
    )

    def __init__(
        self,
        sock: _socket.socket,
        received: Callable[[bytes], None],
        ended: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._sock = sock
        self._received = received
        self._ended = ended
        self._tls: TlsFilter | None = None
        self._unsent = b""
        self._muted = False
        self._timer: Any = None
        self._writer: _IoWatcher | None = None
        self.closing = False
        self._loop = get_hub().loop
        self._watcher: _IoWatcher | None = self._loop.io(sock.fileno(), READ)
        self._watcher.start(self._read)

    def send(self, data: bytes) -> None:
        """Send `data`, now or when the client can take it. Do nothing while closing."""
        if not self.closing:
            self._out(data if self._tls is None else self._tls.encrypt(data))

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Use TLS from now on, beginning with the client's handshake."""
        self._tls = TlsFilter(context)

    @property
    def secure(self) -> bool:
        """Whether TLS is in use."""
        return self._tls is not None

    def mute(self) -> None:
        """Ignore everything that the client sends from now on."""
        self._muted = True

    def close(self) -> None:
        """Send pending bytes, end the stream, and wait up to 2 s for the client to close."""
        if self.closing or self._watcher is None:
            return
        if self._tls is not None:
            self._out(self._tls.close_notify())
        self.closing = True
        if self._watcher is not None:
            self._timer = self._loop.timer(LINGER)
            self._timer.start(self.drop)
            self._shut()

    def reset(self) -> None:
        """Reset the connection."""
        if self._watcher is not None:
            self._sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            self.drop()

    def drop(self) -> None:
        """Close the socket at once, even if bytes are pending."""
        if self._watcher is None:
            return
        for watcher in (self._watcher, self._writer, self._timer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._watcher = self._writer = self._timer = None
        self.closing = True
        self._unsent = b""
        self._sock.close()
        self._ended()

    def _read(self) -> None:
        """Boundary: an error in one connection closes only that one."""
        try:
            data = self._sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop()
        elif not self.closing and not self._muted:
            try:
                self.take(data)
            except Exception:
                log.exception("a client's connection")
                self.drop()

    def take(self, data: bytes) -> None:
        """Process `data` as if it came from the socket."""
        if self._tls is not None:
            data = self._decrypt(self._tls, data)
        if data:
            self._received(data)

    def _decrypt(self, tls: TlsFilter, data: bytes) -> bytes:
        try:
            plain = tls.decrypt(data)
        except ssl.SSLError:
            plain = None  # not TLS, or broken: the alert tells the client
        if pending := tls.pending():
            self._out(pending)
        if plain is None:
            self.drop()
        return plain or b""

    def _out(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
            if len(self._unsent) > UNSENT_MAX:
                self.drop()  # bound the memory for a client that does not read
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop()
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._writer = self._loop.io(self._sock.fileno(), WRITE)
            self._writer.start(self._writable)

    def _writable(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.drop()
            return
        self._unsent = self._unsent[sent:]
        if not self._unsent and self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None
            if self.closing:
                self._shut()

    def _shut(self) -> None:
        if not self._unsent:
            try:
                self._sock.shutdown(SHUT_WR)
            except OSError:
                self.drop()
