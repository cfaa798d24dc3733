"""A worker's lease: until when it may have users. It ends them before they act any further.

A machine may be suspended and resume when its users already run elsewhere. Then the users' timers
and sockets are due in the hub's first turn, but the lease's timer has the highest priority and
fires first. If the process was stopped within a turn, SIGCONT interrupts the running user, and the
lease is handled before the rest of that turn. Neither costs anything while the lease is renewed.
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

    Create it in the main thread. If one of `users` was running when the process was stopped, that
    user is ended where it stands.
    """

    def __init__(self, until: float, users: UserScheduler, on_end: Callable[[], object]) -> None:
        self._until = until
        self._users = users
        self._on_end = on_end
        self._over = False
        self._loop: Any = gevent.get_hub().loop
        self._timer: Any = self._loop.timer(0.0)
        self._wait()
        signal.signal(signal.SIGCONT, self._on_continue)

    @property
    def over(self) -> bool:
        """Whether the lease has ended; it cannot be renewed then."""
        if not self._over and clock.monotonic() >= self._until:
            self._over = True
            self._timer.feed(0, self._check)  # before all other events of this turn
        return self._over

    def renew(self, until: float) -> None:
        """Extend the lease to `until`, unless it is over."""
        if not self.over:
            self._until = max(self._until, until)

    def close(self) -> None:
        """Stop the timer and the signal handler; end no user any more."""
        self._over = True
        self._timer.stop()
        signal.signal(signal.SIGCONT, signal.SIG_DFL)

    def _wait(self) -> None:
        self._timer.stop()
        left = max(0.0, self._until - clock.monotonic())
        self._timer = self._loop.timer(left, priority=self._loop.MAXPRI)
        if left < FOREVER:
            self._timer.start(self._check, update=True)

    def _check(self) -> None:
        """End the lease, or wait for its new end if it was renewed."""
        if not self._over and clock.monotonic() < self._until:
            self._wait()
            return
        self._over = True
        self._timer.stop()
        self._on_end()

    def _on_continue(self, _number: int, frame: FrameType | None) -> None:
        """Handle SIGCONT in the greenlet that runs."""
        if self.over and self._users.mark_killed(frame):
            raise GreenletExit
