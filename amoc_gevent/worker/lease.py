"""A worker's lease: until when it may have users, and that they end before they act beyond it.

A machine may stand still, and go on in the middle of whatever it did when others have its users.
Their timers and sockets are due in the first turn of its hub then; so is the timer of the lease,
whose priority is the highest: it comes first. Where it was within a turn that a process was
stopped, a signal says so, and the rest of the turn comes after the lease as well. Neither costs
anything for as long as the lease is renewed.
"""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import gevent
from gevent import GreenletExit

from amoc_gevent import clock
from amoc_gevent.worker.scheduler import UserScheduler

FOREVER = float("inf")


class Lease:
    """Calls `on_end()` once, from the hub, when `until` (monotonic s) has passed.

    It is made in the main thread. One of `users` who had the processor when the process was stopped
    goes no further than that.
    """

    def __init__(self, until: float, users: UserScheduler, on_end: Callable[[], object]) -> None:
        self._until = until
        self._users = users
        self._on_end = on_end
        self._over = False
        self._loop: Any = gevent.get_hub().loop
        self._timer: Any = self._loop.timer(0.0)
        self._wait()
        signal.signal(signal.SIGCONT, self._go_on)

    @property
    def over(self) -> bool:
        """Whether it has ended; it is never renewed then."""
        if not self._over and clock.monotonic() >= self._until:
            self._over = True
            self._timer.feed(0, self._look)  # before anything else that is due in this turn
        return self._over

    def renew(self, until: float) -> None:
        """Let it last until then, unless it is over."""
        if not self.over:
            self._until = max(self._until, until)

    def close(self) -> None:
        """End nothing any more."""
        self._over = True
        self._timer.stop()
        signal.signal(signal.SIGCONT, signal.SIG_DFL)

    def _wait(self) -> None:
        self._timer.stop()
        left = max(0.0, self._until - clock.monotonic())
        self._timer = self._loop.timer(left, priority=self._loop.MAXPRI)
        if left < FOREVER:
            self._timer.start(self._look, update=True)

    def _look(self) -> None:
        """End it, or wait on for what it was renewed by."""
        if not self._over and clock.monotonic() < self._until:
            self._wait()
            return
        self._over = True
        self._timer.stop()
        self._on_end()

    def _go_on(self, _number: int, frame: FrameType | None) -> None:
        """Handle SIGCONT, in whichever greenlet runs."""
        if self.over and self._users.cut(frame):
            raise GreenletExit
