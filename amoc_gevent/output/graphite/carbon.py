"""Sends points to carbon in its plaintext protocol over TCP, from a bounded buffer.

One line per point: path, value, seconds since 1970 (graphite.readthedocs.io, "Feeding in your
data"). The protocol has no acknowledgements. After a broken connection, the points of the last
60 s are sent again: carbon keeps one value for each path and time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import gevent
from gevent import socket
from gevent.event import Event as Flag

from amoc_gevent import clock
from amoc_gevent.output.graphite.outage import Outage
from amoc_gevent.output.graphite.points import Point

BUFFER_BYTES = 32 << 20
"""Size of the buffer for an outage of Graphite: about an hour with 100 operations."""

CHUNK = 64 << 10
IN_DOUBT_S = 60.0
RETRY_MIN_S, RETRY_MAX_S = 0.5, 10.0


class _Batch(NamedTuple):
    """Lines to send, their number, and their earliest time."""

    data: bytes
    points: int
    time: int


def lines(prefix: str, points: Sequence[Point]) -> bytes:
    """Return `points` in the plaintext protocol; integral values have no decimal point."""
    start = f"{prefix}." if prefix else ""
    rows = (
        f"{start}{path} {int(value) if value == int(value) else repr(float(value))} {time}\n"
        for path, value, time in points
    )
    return "".join(rows).encode()


class Carbon:
    """Sends points to carbon at `address` from its own greenlet; `put` never waits.

    `say` gets a line when carbon fails, and another when it recovers. `patience` is the timeout, in
    seconds, for connecting and for sending 64 KiB.
    """

    def __init__(
        self,
        address: tuple[str, int],
        say: Callable[[str], None],
        patience: float = 5.0,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._address = address
        self._patience = patience
        self._buffer_bytes = buffer_bytes
        self._outage = Outage(f"Graphite at {address[0]}:{address[1]}", "its points", say)
        self._socket: socket.socket | None = None
        self._queue: deque[_Batch] = deque()
        self._in_doubt: deque[tuple[float, _Batch]] = deque()
        self._bytes = self._dropped = self._caught_up = 0
        self._filled, self._empty = Flag(), Flag()
        self._empty.set()
        self._greenlet = gevent.spawn(self._send_all)

    def put(self, prefix: str, points: Sequence[Point]) -> None:
        """Queue `points`. If the buffer is full, drop the oldest."""
        if not points:
            return
        batch = _Batch(lines(prefix, points), len(points), min(point.time for point in points))
        self._queue.append(batch)
        self._bytes += len(batch.data)
        while self._bytes > self._buffer_bytes and len(self._queue) > 1:
            dropped = self._queue.popleft()
            self._bytes -= len(dropped.data)
            self._dropped += dropped.points
        self._empty.clear()
        self._filled.set()

    def oldest_waiting(self) -> int | None:
        """Return the earliest time of the queued points."""
        return min((batch.time for batch in self._queue), default=None)

    def oldest(self) -> int | None:
        """Return the earliest time of the points that are queued or may have to be sent again."""
        since = clock.monotonic() - IN_DOUBT_S
        times = [batch.time for sent, batch in self._in_doubt if sent > since]
        return min((*times, *(batch.time for batch in self._queue)), default=None)

    def finish(self, patience: float) -> None:
        """Send the rest within `patience` seconds, and report how many points could not be sent."""
        deadline = clock.monotonic() + patience
        confirmed = self._empty.wait(patience) and self._confirm(deadline)
        self._greenlet.kill()
        self._close()
        if self._queue:
            points = sum(batch.points for batch in self._queue) + self._dropped
            self._outage.lost(f"{points:,} points were not sent")
        elif not confirmed:
            self._outage.lost("it did not confirm that it read the last points")
        else:
            self._in_doubt.clear()

    def _send_all(self) -> None:
        pause = RETRY_MIN_S
        while True:
            self._filled.wait()
            batch = self._queue[0]
            try:
                self._send(batch.data)
            except OSError as error:
                self._outage.begin(error)
                self._requeue()
                gevent.sleep(pause)
                pause = min(RETRY_MAX_S, pause * 2)
                continue
            pause = RETRY_MIN_S
            self._note_sent(batch)

    def _note_sent(self, batch: _Batch) -> None:
        now = clock.monotonic()
        if self._queue and self._queue[0] is batch:  # otherwise it was dropped meanwhile
            self._queue.popleft()
            self._bytes -= len(batch.data)
        self._in_doubt.append((now, batch))
        while self._in_doubt[0][0] < now - IN_DOUBT_S:
            self._in_doubt.popleft()
        self._caught_up += batch.points if self._outage.on else 0
        if not self._queue:
            self._filled.clear()
            self._empty.set()
            lost = f", {self._dropped:,} older ones were lost" if self._dropped else ""
            if self._outage.on:
                self._outage.end(f"{self._caught_up:,} kept points were sent{lost}")
            elif lost:
                self._outage.lost(f"it is too slow{lost}")
            self._caught_up = self._dropped = 0

    def _requeue(self) -> None:
        """Queue again the points that the broken connection may have lost."""
        self._close()
        self._caught_up = 0
        while self._in_doubt:
            sent, batch = self._in_doubt.pop()
            if sent > clock.monotonic() - IN_DOUBT_S:
                self._queue.appendleft(batch)
                self._bytes += len(batch.data)

    def _send(self, data: bytes) -> None:
        if self._socket is not None and _is_closed(self._socket):
            raise ConnectionResetError(0, "connection closed")
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._patience)
        for begin in range(0, len(data), CHUNK):
            self._socket.sendall(data[begin : begin + CHUNK])

    def _confirm(self, deadline: float) -> bool:
        """Shut down the connection. Return whether carbon read everything and closed its side."""
        if self._socket is None:
            return True
        try:
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(max(0.01, deadline - clock.monotonic()))
            while self._socket.recv(CHUNK):
                pass
        except OSError:
            return False
        return True

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _is_closed(sock: socket.socket) -> bool:
    """Return whether the peer has closed. Carbon sends no data, so only an end can be read."""
    patience = sock.gettimeout()
    sock.settimeout(0.0)
    try:
        return not sock.recv(1)
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(patience)
