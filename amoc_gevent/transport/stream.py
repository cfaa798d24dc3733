"""One user's TCP stream: a raw, non-blocking socket with the kernel's arrival times.

Arrival times come from SO_TIMESTAMPNS. For TCP it stamps the segment that carried the last byte of
a read. Time that this process was busy is therefore not counted as the peer's.
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
    """A connected stream for one greenlet at a time, made by `connect`.

    - `sent`: start of the last `send` (monotonic seconds)
    - `arrived`: when the last received bytes reached the kernel (monotonic seconds); if not
      `stamped`, when this process read them
    - `lag`: how long those bytes waited for this process (seconds)
    - `stamped`: whether the kernel gave the time of arrival
    - `connect_us`, `tls_us`: duration of the TCP and TLS handshakes without our own lag (µs);
      `tls_us` is None for plain TCP
    - `read_timeout`: limit of each wait for a read or write (seconds)
    - `total_deadline`: limit of all waits (monotonic seconds)
    - `at_eof`: whether `poll` has seen the end of the peer's stream
    - `unsent`: pushed bytes that the kernel has not taken yet
    """

    __slots__ = (
        "__weakref__",
        "_recvmsg",
        "_send",
        "_socket",
        "arrived",
        "at_eof",
        "closed",
        "connect_us",
        "lag",
        "peer",
        "read_timeout",
        "sent",
        "stamped",
        "tls_us",
        "total_deadline",
        "unsent",
        "waiter",
    )

    def __init__(self, sock: "_socket.socket", waiter: Waiter, peer: str) -> None:
        self._socket = sock
        self._recvmsg = sock.recvmsg
        self._send = sock.send
        self.waiter = waiter
        self.peer = peer
        self.closed = self.at_eof = False
        self.connect_us = 0
        self.tls_us: int | None = None
        self.sent = self.arrived = self.lag = 0.0
        self.stamped = False
        self.read_timeout = self.total_deadline = NEVER
        self.unsent = b""

    def send(self, data: bytes) -> None:
        """Hand all of `data` to the kernel, waiting while its buffer is full.

        Raises TransportError if the stream is broken, TransportTimeout if a wait takes too long.
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

        Bytes that do not fit into the kernel's buffer are `unsent` and sent as soon as they fit.
        Raises TransportError if the stream is broken.
        """
        self.sent = clock.monotonic()
        if self.unsent:
            self.unsent += data
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._broken(error) from None
        if sent != len(data):
            self.unsent = data[sent:]
            self.waiter.when_writable(self._socket.fileno(), ref(self))

    def flush(self) -> bool:
        """Send unsent bytes. Return True when none are left, or when the stream is broken.

        The reading side reports a broken stream.
        """
        try:
            self.unsent = self.unsent[self._send(self.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.unsent = b""
        return not self.unsent

    def receive(self) -> bytes:
        """Wait for bytes and return them, b"" at the end of the stream.

        It waits before it reads, because the answer to a request is never there yet. Raises the
        same errors as `send`.
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
        """Call `callback(*args)` on the hub whenever there is something to `poll`."""
        self.waiter.follow(callback, *args)

    def unfollow(self) -> None:
        """Stop calling back, so that the greenlet that uses the stream can `receive` again."""
        self.waiter.unfollow()

    def poll(self) -> bytes:
        """Return the bytes that can be read without waiting, b"" if there are none.

        Sets `at_eof` once the peer has ended the stream. Raises TransportError if it is broken.
        """
        try:
            data, ancillary, _, _ = self._recvmsg(READ_SIZE, _ANCILLARY_SIZE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._broken(error) from None
        self._mark(ancillary)
        if not data:
            self.at_eof = True
        return data

    def release(self) -> tuple["_socket.socket", Waiter]:
        """Return the socket and the waiter, for another stream on the same connection."""
        self.closed = True
        return self._socket, self.waiter

    def _mark(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        """Record when the bytes that were just read arrived."""
        now = clock.monotonic()
        if ancillary:
            if now > clock.wall_origin_until:
                clock.renew_wall_origin()
            seconds, ns = _stamp_of(ancillary[0][2])
            arrived = seconds - clock.wall_origin_s + ns * 1e-9 - clock.wall_origin_fraction
            lag = now - arrived
            if lag < 0.0:  # the wall clock was set back
                arrived, lag = now, 0.0
            recorder.lag(int(lag * 1e6))
            self.stamped = True
            self.lag = lag
            self.arrived = arrived
        else:
            self.stamped = False
            self.lag = 0.0
            self.arrived = now

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session for resumption by the next stream to the same peer; None for TCP."""
        return None

    def ended(self) -> bool:
        """Return whether the peer has closed or sent unrequested bytes. Costs a system call."""
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

    def __del__(self) -> None:  # a dropped stream leaks no descriptor
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
        if error.errno == errno.ETIMEDOUT:  # the peer never acknowledged sent bytes
            return TransportTimeout(READ_TIMEOUT, self.peer)
        return from_os_error(error, self.peer)

    def _late(self) -> TransportTimeout:
        total = self.waiter.deadline >= self.total_deadline
        return TransportTimeout(TOTAL_TIMEOUT if total else READ_TIMEOUT, self.peer)
