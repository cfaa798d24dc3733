"""A greenlet's wait for one stream, and the worker's one timer that ends waits that last too long.

A wait costs no system call: its read watcher stays in the event loop's set for as long as the
stream lives, and its time-out is an attribute that the timer looks at when the time has come.
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
"""Seconds by which a time-out may come late."""

_READ, _WRITE = 1, 2


class Flushed(Protocol):
    """A stream that keeps what it could not send yet."""

    def flush(self) -> bool:
        """Send of it what can be sent; true when that is all."""


class Timed:
    """A wait that the worker's one timer ends: `arm` sets its time, `expire` is called when it is.

    `deadline` (monotonic seconds) is when; `expired` tells that it has been.
    """

    __slots__ = ("deadline", "expired", "seen_at")

    def __init__(self) -> None:
        self.deadline = NEVER
        self.expired = False
        self.seen_at = NEVER

    def arm(self, deadline: float) -> None:
        """Let waits last until `deadline` (monotonic seconds) at most."""
        self.deadline = deadline
        self.expired = False
        if self.seen_at > deadline + TICK:
            deadlines().file(self)

    def disarm(self) -> None:
        """Leave the timer."""
        if self.seen_at != NEVER:
            deadlines().forget(self)

    def expire(self) -> None:
        """End the wait, because the deadline has passed."""
        raise NotImplementedError


class Waiter(Timed):
    """Lets the one greenlet that uses a stream wait until it is readable or writable.

    `deadline` (monotonic seconds) ends a wait; `expired` then tells that it has. `unread` is true
    when bytes or the end of the stream came while nobody waited; the watcher rests until the next
    wait, so an idle stream that its peer closed costs one wake-up and can be told from a live one.
    The waiter does not know its stream, so that a stream nobody holds any longer is collected.
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
        """Begin, once the stream is connected, to notice what comes in."""
        self.unread = False
        self._watcher.start(self._on_readable)

    def follow(self, callback: Callable[..., None], *args: object) -> None:
        """Call `callback(*args)` on the hub whenever there is something to read; nobody waits."""
        self._watcher.stop()
        self._watcher.start(callback, *args)

    def unfollow(self) -> None:
        """Let a greenlet wait again."""
        self._watcher.stop()
        self.watch()

    def readable(self) -> None:
        """Return when there is something to read, when the deadline has passed, or sooner."""
        if self.unread:
            self.watch()
        self._reader = getcurrent()
        try:
            self._hub.switch()
        finally:
            self._reader = None

    def writable(self, fileno: int) -> None:
        """Return when the stream can be written to, when the deadline has passed, or sooner."""
        watcher = self._hub.loop.io(fileno, _WRITE)
        self._writer = getcurrent()
        watcher.start(self._on_writable)
        try:
            self._hub.switch()
        finally:
            self._writer = None
            watcher.stop()
            watcher.close()

    def when_writable(self, fileno: int, stream: Callable[[], Flushed | None]) -> None:
        """Have the stream flushed whenever it can be written to, until it says that it is done."""
        self._flusher = self._hub.loop.io(fileno, _WRITE)
        self._flusher.start(self._flush, stream)

    def _flush(self, stream: Callable[[], Flushed | None]) -> None:
        found = stream()
        if found is None or found.flush():
            self._end_flushing()

    def _end_flushing(self) -> None:
        if self._flusher is not None:
            self._flusher.stop()
            self._flusher.close()
            self._flusher = None

    def close(self) -> None:
        """Leave the event loop and the timer."""
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
    """One timer for all streams of a worker: waiters filed by the tick that ends their time.

    A waiter is filed once, under the earliest deadline that it had; `seen_at` says when that comes
    up (monotonic seconds). If the deadline has moved on by then, as it does with each operation, it
    is filed again; so an operation's time-out costs an assignment and a comparison, not a timer.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._slots: dict[int, set[Timed]] = {}
        self._ticks: list[int] = []
        self._timer: Any = None
        self._due = 0

    def file(self, waiter: Timed) -> None:
        """Look at `waiter` when its deadline comes up, at most a tick late."""
        if waiter.seen_at != NEVER:
            self.forget(waiter)
        tick = int(waiter.deadline / TICK) + 1
        waiter.seen_at = tick * TICK
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = {waiter}
            heappush(self._ticks, tick)
            if not self._due or tick < self._due:
                self._schedule()
        else:
            slot.add(waiter)

    def forget(self, waiter: Timed) -> None:
        """Drop a waiter that needs no time-out any longer."""
        slot = self._slots.get(round(waiter.seen_at / TICK))
        if slot is not None:
            slot.discard(waiter)
        waiter.seen_at = NEVER

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        self._due = self._ticks[0] if self._ticks else 0
        if self._due:
            delay = max(0.0, self._due * TICK - clock.monotonic())
            self._timer = self._loop.timer(delay, ref=False)
            self._timer.start(self._look, update=True)

    def _look(self) -> None:
        """Wake those whose deadline has passed and file the others again."""
        now = clock.monotonic()
        late: list[Timed] = []
        while self._ticks and self._ticks[0] * TICK <= now:
            for waiter in self._slots.pop(heappop(self._ticks)):
                waiter.seen_at = NEVER
                if waiter.deadline <= now:
                    late.append(waiter)
                elif waiter.deadline != NEVER:
                    self.file(waiter)
        self._schedule()
        for waiter in late:
            if waiter.deadline <= now:  # one woken before it may have moved or ended this wait
                waiter.expire()


_of_hub: WeakKeyDictionary[Any, Deadlines] = WeakKeyDictionary()


def deadlines() -> Deadlines:
    """Return the timer of this thread's hub: a worker has one of each."""
    hub = get_hub()
    found = _of_hub.get(hub)
    if found is None:
        found = _of_hub[hub] = Deadlines(hub.loop)
    return found
