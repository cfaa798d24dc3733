"""Waiting for a stream to become ready, and the timer that ends a worker's overdue waits.

A wait costs no system call: the read watcher stays in the event loop's set for the lifetime of the
stream, and the timeout is an attribute that the timer checks when it is due.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from gevent import get_hub
from greenlet import getcurrent, greenlet

from amoc_gevent import clock

NEVER = float("inf")
TICK = 0.01
"""Seconds between two checks. A timeout takes effect at most this much too late."""

_READ, _WRITE = 1, 2


class Flushable(Protocol):
    """A stream that keeps bytes it could not send yet."""

    def flush(self) -> bool:
        """Send as much as possible and return whether nothing is left."""


class Timed:
    """A wait that the worker's timer ends. It calls `expire` at the deadline that `arm` sets.

    `deadline` is in monotonic seconds. `expired` is true once it has passed. `check_at` is when the
    timer checks this wait next.
    """

    __slots__ = ("check_at", "deadline", "expired")

    def __init__(self) -> None:
        self.deadline = NEVER
        self.expired = False
        self.check_at = NEVER

    def arm(self, deadline: float) -> None:
        """Set the deadline of the next waits (monotonic seconds)."""
        self.deadline = deadline
        self.expired = False
        if self.check_at > deadline + TICK:
            deadlines().add(self)

    def disarm(self) -> None:
        """Remove this wait from the timer."""
        if self.check_at != NEVER:
            deadlines().remove(self)

    def expire(self) -> None:
        """End the wait because the deadline has passed."""
        raise NotImplementedError


class Waiter(Timed):
    """Blocks the greenlet that uses a stream until the stream is readable or writable.

    `unread` is true when bytes or the end of the stream arrived while no greenlet waited. The
    watcher is then stopped until the next wait. So an idle stream costs one wake-up when its peer
    closes, and `unread` shows it. The waiter has no reference to its stream, so that an unused
    stream is garbage-collected.
    """

    __slots__ = (
        "_flusher",
        "_hub",
        "_reader",
        "_watcher",
        "_writer",
        "unread",
    )

    def __init__(self, fileno: int) -> None:
        super().__init__()
        self._hub: Any = get_hub()
        self._reader: greenlet | None = None
        self._writer: greenlet | None = None
        self._flusher: Any = None
        self._watcher: Any = self._hub.loop.io(fileno, _READ)
        self.unread = False

    def watch(self) -> None:
        """Start to watch for incoming bytes. Call it once the stream is connected."""
        self.unread = False
        self._watcher.start(self._on_readable)

    def follow(self, callback: Callable[..., None], *args: object) -> None:
        """Call `callback(*args)` on the hub whenever the stream is readable, instead of waiting."""
        self._watcher.stop()
        self._watcher.start(callback, *args)

    def unfollow(self) -> None:
        """Stop calling back, so that a greenlet can wait again."""
        self._watcher.stop()
        self.watch()

    def readable(self) -> None:
        """Return when the stream is readable, when the deadline has passed, or earlier."""
        if self.unread:
            self.watch()
        self._reader = getcurrent()
        try:
            self._hub.switch()
        finally:
            self._reader = None

    def writable(self, fileno: int) -> None:
        """Return when the stream is writable, when the deadline has passed, or earlier."""
        watcher = self._hub.loop.io(fileno, _WRITE)
        self._writer = getcurrent()
        watcher.start(self._on_writable)
        try:
            self._hub.switch()
        finally:
            self._writer = None
            watcher.stop()
            watcher.close()

    def when_writable(self, fileno: int, stream: Callable[[], Flushable | None]) -> None:
        """Call `flush` of the stream whenever it is writable, until `flush` returns True."""
        self._flusher = self._hub.loop.io(fileno, _WRITE)
        self._flusher.start(self._flush, stream)

    def _flush(self, stream: Callable[[], Flushable | None]) -> None:
        found = stream()
        if found is None or found.flush():
            self._end_flushing()

    def _end_flushing(self) -> None:
        if self._flusher is not None:
            self._flusher.stop()
            self._flusher.close()
            self._flusher = None

    def close(self) -> None:
        """Remove this waiter from the event loop and the timer."""
        self._end_flushing()
        self._watcher.stop()
        self._watcher.close()
        self.disarm()

    def expire(self) -> None:
        """Wake the waiting greenlet, if any, because the deadline has passed."""
        self.expired = True
        if self._reader is not None:
            self._reader.switch()
        if self._writer is not None:
            self._writer.switch()

    def _on_readable(self) -> None:
        waiting = self._reader
        if waiting is not None:
            waiting.switch()
        else:
            self.unread = True
            self._watcher.stop()

    def _on_writable(self) -> None:
        if self._writer is not None:
            self._writer.switch()


class Deadlines:
    """One timer for all waits of a worker, stored by the tick in which they are due.

    A wait is stored once, under the earliest deadline it had, and checked at `check_at` (monotonic
    seconds). If an operation has moved the deadline by then, the wait is stored again. So the
    timeout of an operation costs an assignment and a comparison, not a timer.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._slots: dict[int, set[Timed]] = {}
        self._ticks: list[int] = []
        self._timer: Any = None
        self._due = 0

    def add(self, waiter: Timed) -> None:
        """Check `waiter` when its deadline is due, at most one tick late."""
        if waiter.check_at != NEVER:
            self.remove(waiter)
        tick = int(waiter.deadline / TICK) + 1
        waiter.check_at = tick * TICK
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = {waiter}
            heappush(self._ticks, tick)
            if not self._due or tick < self._due:
                self._schedule()
        else:
            slot.add(waiter)

    def remove(self, waiter: Timed) -> None:
        """Remove a waiter that needs no timeout any more."""
        slot = self._slots.get(round(waiter.check_at / TICK))
        if slot is not None:
            slot.discard(waiter)
        waiter.check_at = NEVER

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        self._due = self._ticks[0] if self._ticks else 0
        if self._due:
            delay = max(0.0, self._due * TICK - clock.monotonic())
            self._timer = self._loop.timer(delay, ref=False)
            self._timer.start(self._check_due, update=True)

    def _check_due(self) -> None:
        """Wake the waiters whose deadline has passed and store the others again."""
        now = clock.monotonic()
        late: list[Timed] = []
        while self._ticks and self._ticks[0] * TICK <= now:
            for waiter in self._slots.pop(heappop(self._ticks)):
                waiter.check_at = NEVER
                if waiter.deadline <= now:
                    late.append(waiter)
                elif waiter.deadline != NEVER:
                    self.add(waiter)
        self._schedule()
        for waiter in late:
            if waiter.deadline <= now:  # the last waiter to wake may have changed this deadline
                waiter.expire()


_of_hub: WeakKeyDictionary[Any, Deadlines] = WeakKeyDictionary()


def deadlines() -> Deadlines:
    """Return the timer of this thread's hub. A worker has one hub and one timer."""
    hub = get_hub()
    found = _of_hub.get(hub)
    if found is None:
        found = _of_hub[hub] = Deadlines(hub.loop)
    return found
