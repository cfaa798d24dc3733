"""One user's TCP stream: raw, non-blocking, with the kernel's arrival times.

The arrival of bytes is the kernel's (SO_TIMESTAMPNS, which for TCP stamps the segment that the last
byte of a read came in), so time for which this process was busy is not taken for the peer's.
"""

import _socket
import errno
import ssl
import struct
from collections.abc import Callable
from weakref import ref

from amoc_gevent import clock
from amoc_gevent.metrics import recorder
from amoc_gevent.transport.errors import (
    READ_TIMEOUT,
    TOTAL_TIMEOUT,
    TransportError,
    TransportTimeout,
    from_os_error,
)
from amoc_gevent.transport.waiting import NEVER, Waiter

READ_SIZE = 65536

_ANCILLARY_SIZE = _socket.CMSG_SPACE(16)
_stamp_of = struct.Struct("qq").unpack


class Transport:
    """A connected stream for one greenlet at a time; `connect` makes it.

    `sent` and `arrived` are when the last `send` began and when the last bytes received reached the
    kernel (seconds of the monotonic clock); `lag` is how long those then waited for this process
    (seconds). `stamped` tells whether the kernel said so; else they arrived when they were picked
    up. `connect_us` and `tls_us` are what network and peer took for the hand-shakes (µs; `tls_us`
    is None for plain TCP). `read_timeout` (seconds) bounds each wait of a read or a write,
    `total_deadline` (monotonic seconds) all of them. `kept` is what was pushed and is still to go.
    """

    __slots__ = (
        "__weakref__",
        "_recvmsg",
        "_send",
        "_socket",
        "arrived",
        "closed",
        "connect_us",
        "kept",
        "lag",
        "over",
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
        self.waiter = waiter
        self.peer = peer
        self.closed = self.over = False
        self.connect_us = 0
        self.tls_us: int | None = None
        self.sent = self.arrived = self.lag = 0.0
        self.stamped = False
        self.read_timeout = self.total_deadline = NEVER
        self.kept = b""

    def send(self, data: bytes) -> None:
        """Hand all of `data` to the kernel, waiting while its buffer is full.

        Raises TransportError when the stream is broken, TransportTimeout when it takes too long.
        """
        self.sent = clock.monotonic()
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._broken(error) from None
        if sent != len(data):
            self._send_rest(memoryview(data)[sent:])

    def push(self, data: bytes) -> None:
        """Hand `data` to the kernel without waiting, from a greenlet or the hub.

        What the kernel does not take yet is `kept` and goes as soon as it does. Raises
        TransportError when the stream is broken.
        """
        self.sent = clock.monotonic()
        if self.kept:
            self.kept += data
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._broken(error) from None
        if sent != len(data):
            self.kept = data[sent:]
            self.waiter.when_writable(self._socket.fileno(), ref(self))

    def flush(self) -> bool:
        """Hand over what is kept; true when nothing of it is left, or nobody takes it any longer.

        That the stream is broken will be told by its reading side.
        """
        try:
            self.kept = self.kept[self._send(self.kept) :]
        except BlockingIOError:
            pass
        except OSError:
            self.kept = b""
        return not self.kept

    def receive(self) -> bytes:
        """Wait for bytes and return them, b"" at the end of the stream.

        It waits before it reads: an answer is never there yet. Raises as `send` does.
        """
        waiter = self.waiter
        deadline = clock.monotonic() + self.read_timeout
        waiter.arm(deadline if deadline < self.total_deadline else self.total_deadline)
        while True:
            waiter.readable()
            try:
                data, ancillary, _, _ = self._recvmsg(READ_SIZE, _ANCILLARY_SIZE)
                break
            except BlockingIOError:
                if waiter.expired:
                    raise self._late() from None
            except OSError as error:
                raise self._broken(error) from None
        self._mark(ancillary)
        if waiter.expired and self.arrived > waiter.deadline:
            raise self._late()
        return data

    def follow(self, callback: Callable[..., None], *args: object) -> None:
        """Have `callback(*args)` called on the hub whenever there is something to `poll`."""
        self.waiter.follow(callback, *args)

    def unfollow(self) -> None:
        """Let the greenlet that uses the stream `receive` again."""
        self.waiter.unfollow()

    def poll(self) -> bytes:
        """Return what is there to read, b"" when that is nothing; it never waits.

        `over` is true once the peer has ended the stream. Raises TransportError when it is broken.
        """
        try:
            data, ancillary, _, _ = self._recvmsg(READ_SIZE, _ANCILLARY_SIZE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._broken(error) from None
        self._mark(ancillary)
        if not data:
            self.over = True
        return data

    def release(self) -> tuple["_socket.socket", Waiter]:
        """Give up socket and waiter to another stream, over the same connection."""
        self.closed = True
        return self._socket, self.waiter

    def _mark(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        """Note when bytes that were just read had arrived."""
        now = clock.monotonic()
        if ancillary:
            seconds, ns = _stamp_of(ancillary[0][2])
            lag_ns = clock.wall_ns() - seconds * 1_000_000_000 - ns
            if lag_ns < 0:  # noqa: PLR1730  # max() takes longer; the wall clock was set back
                lag_ns = 0
            recorder.lag(lag_ns // 1000)
            self.stamped = True
            self.lag = lag = lag_ns / 1e9
            self.arrived = now - lag
        else:
            self.stamped = False
            self.lag = 0.0
            self.arrived = now

    @property
    def session(self) -> ssl.SSLSession | None:
        """What the next stream to the same peer can resume; None for plain TCP."""
        return None

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
        """Close the stream at once."""
        if not self.closed:
            self.closed = True
            self.waiter.close()
            self._socket.close()

    def __del__(self) -> None:  # a user that drops its streams leaks no descriptor
        self.close()

    def _send_rest(self, rest: memoryview) -> None:
        waiter = self.waiter
        while rest:
            waiter.arm(min(clock.monotonic() + self.read_timeout, self.total_deadline))
            waiter.writable(self._socket.fileno())
            try:
                rest = rest[self._send(rest) :]
            except BlockingIOError:
                if waiter.expired:
                    raise self._late() from None
            except OSError as error:
                raise self._broken(error) from None

    def _broken(self, error: OSError) -> TransportError:
        if error.errno == errno.ETIMEDOUT:  # what was sent was never acknowledged
            return TransportTimeout(READ_TIMEOUT, self.peer)
        return from_os_error(error, self.peer)

    def _late(self) -> TransportTimeout:
        total = self.waiter.deadline >= self.total_deadline
        return TransportTimeout(TOTAL_TIMEOUT if total else READ_TIMEOUT, self.peer)
