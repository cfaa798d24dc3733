"""One user's TCP or TLS stream: raw, non-blocking, with the kernel's arrival times.

The arrival of bytes is the kernel's (SO_TIMESTAMPNS, which for TCP stamps the segment that the last
byte of a read came in), so time for which this process was busy is not taken for the peer's.
"""

import _socket
import ssl
import struct
from contextlib import suppress

from amoc_gevent import clock, metrics
from amoc_gevent.transport.errors import (
    CLOSED,
    READ_TIMEOUT,
    TOTAL_TIMEOUT,
    TransportError,
    TransportTimeout,
    from_os_error,
)
from amoc_gevent.transport.tls import Tls
from amoc_gevent.transport.waiting import NEVER, Waiter

READ_SIZE = 65536
TLS_PIECE = 1 << 18

_ANCILLARY_SIZE = _socket.CMSG_SPACE(16)
_stamp_of = struct.Struct("qq").unpack


class Transport:
    """A connected stream for one greenlet at a time; `connect` makes it.

    `sent` and `arrived` are when the last `send` began and when the last bytes received reached the
    kernel (seconds of the monotonic clock); `stamped` tells whether the kernel said so, else they
    were picked up at that time. `connect_us` and `tls_us` are what network and peer took for the
    hand-shakes (µs; `tls_us` is None for plain TCP). `read_timeout` (seconds) bounds each wait of a
    read or a write, `total_deadline` (monotonic seconds) all of them.
    """

    __slots__ = (
        "_recvmsg",
        "_send",
        "_socket",
        "_tls",
        "arrived",
        "closed",
        "connect_us",
        "lag",
        "peer",
        "read_timeout",
        "sent",
        "stamped",
        "tls_us",
        "total_deadline",
        "waiter",
    )

    def __init__(self, sock: "_socket.socket", waiter: Waiter, peer: str) -> None:
        self._socket = sock
        self._recvmsg = sock.recvmsg
        self._send = sock.send
        self._tls: Tls | None = None
        self.waiter = waiter
        self.peer = peer
        self.closed = False
        self.connect_us = 0
        self.tls_us: int | None = None
        self.sent = self.arrived = self.lag = 0.0
        self.stamped = False
        self.read_timeout = self.total_deadline = NEVER

    def send(self, data: bytes) -> None:
        """Hand all of `data` to the kernel, waiting while its buffer is full.

        Raises TransportError when the stream is broken, TransportTimeout when it takes too long.
        """
        if self._tls is None:
            self.sent = clock.monotonic()
            self._send_raw(data)
            return
        began = 0.0
        for start in range(0, len(data), TLS_PIECE):
            records = self._tls.encrypt(data[start : start + TLS_PIECE])
            began = began or clock.monotonic()
            self._send_raw(records)
        self.sent = began

    def receive(self) -> bytes:
        """Wait for bytes and return them, b"" at the end of the stream.

        It waits before it reads: an answer is never there yet. Raises as `send` does.
        """
        tls = self._tls
        if tls is None:
            return self._read()
        try:
            data = tls.decrypt(READ_SIZE) if tls.buffered else None
            while data is None:
                tls.feed(self._read())
                data = tls.decrypt(READ_SIZE)
        except ssl.SSLError as error:
            raise from_os_error(error, self.peer) from None
        return data

    def handshake(self, tls: Tls) -> None:
        """Turn the stream into a TLS stream. Raises TransportError with the reason."""
        began, lag = clock.monotonic(), 0.0
        try:
            while not tls.handshake():
                self._send_raw(tls.outgoing())
                tls.feed(self._read())
                lag += self.lag
        except ssl.SSLEOFError:
            raise TransportError(CLOSED, f"{self.peer} during the TLS hand-shake") from None
        except ssl.SSLError as error:
            self._try_to_send(tls.outgoing())  # the alert that says why
            raise from_os_error(error, self.peer) from None
        self.tls_us = int((clock.monotonic() - began - lag) * 1e6)
        self._send_raw(tls.outgoing())
        self._tls = tls

    @property
    def session(self) -> ssl.SSLSession | None:
        """What the next stream to the same peer can resume; None for plain TCP."""
        return self._tls.session if self._tls is not None else None

    @property
    def resumed(self) -> bool:
        """Whether the TLS hand-shake was an abbreviated one."""
        return self._tls is not None and self._tls.resumed

    def ended(self) -> bool:
        """Whether the peer has already closed, or sent what nobody asked for; asks the kernel."""
        try:
            self._socket.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        """Close the stream at once; TLS gets its closing alert, which a resumption needs."""
        if self.closed:
            return
        self.closed = True
        self.waiter.close()
        if self._tls is not None:
            self._try_to_send(self._tls.goodbye())
        self._socket.close()

    __del__ = close  # a user that drops its streams leaks no descriptor

    def _read(self) -> bytes:
        waiter = self.waiter
        waiter.arm(min(clock.monotonic() + self.read_timeout, self.total_deadline))
        while True:
            waiter.readable()
            try:
                data, ancillary, _, _ = self._recvmsg(READ_SIZE, _ANCILLARY_SIZE)
            except BlockingIOError:
                if waiter.expired:
                    raise self._late() from None
                continue
            except OSError as error:
                raise from_os_error(error, self.peer) from None
            break
        now = clock.monotonic()
        if ancillary:
            seconds, ns = _stamp_of(ancillary[0][2])
            lag_ns = clock.wall_ns() - seconds * 1_000_000_000 - ns
            lag_ns = max(lag_ns, 0)  # below 0 when the wall clock was set back just now
            metrics.recorder.lag(lag_ns // 1000)
            self.stamped = True
            self.lag = lag_ns / 1e9
            self.arrived = now - self.lag
        else:
            self.stamped = False
            self.lag = 0.0
            self.arrived = now
        if waiter.expired and self.arrived > waiter.deadline:
            raise self._late()
        return data

    def _send_raw(self, data: bytes) -> None:
        sent = self._send_some(data)
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        while rest:
            self.waiter.arm(min(clock.monotonic() + self.read_timeout, self.total_deadline))
            self.waiter.writable(self._socket.fileno())
            sent = self._send_some(rest)
            if not sent and self.waiter.expired:
                raise self._late()
            rest = rest[sent:]

    def _send_some(self, data: bytes | memoryview) -> int:
        try:
            return self._send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise from_os_error(error, self.peer) from None

    def _try_to_send(self, data: bytes) -> None:
        with suppress(OSError):  # nobody may listen any longer
            self._send(data)

    def _late(self) -> TransportTimeout:
        total = self.waiter.deadline >= self.total_deadline
        return TransportTimeout(TOTAL_TIMEOUT if total else READ_TIMEOUT, self.peer)
