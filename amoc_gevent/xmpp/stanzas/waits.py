"""A greenlet's wait for a stanza, ended by the hub, the worker's timer or an error."""

from collections.abc import Callable
from typing import Any

from gevent import get_hub
from greenlet import getcurrent, greenlet

from amoc_gevent import clock
from amoc_gevent.transport import NEVER, Timed

Match = Callable[[Any], bool]


class Wait(Timed):
    """One greenlet's wait, reusable. `match` selects the stanza.

    `poll` is called before a timeout takes effect: a stanza that arrived while the process was
    busy is not late.
    """

    __slots__ = ("_greenlet", "_hub", "_poll", "_result", "match")

    def __init__(self, poll: Callable[[], object]) -> None:
        super().__init__()
        self._hub: Any = get_hub()
        self._greenlet: greenlet | None = None
        self._poll = poll
        self._result: Any = None
        self.match: Match | None = None

    def begin(self, match: Match | None = None) -> None:
        """Accept results from now on, including those before `until` is called."""
        self._result = None
        self.match = match

    def until(self, timeout: float) -> Any:
        """Return the result, or None after `timeout` seconds. Raises what `finish` was given.

        Do not call it on the hub.
        """
        if self._result is None:
            self.arm(clock.monotonic() + timeout)
            self._greenlet = getcurrent()
            try:
                while self._result is None and not self.expired:
                    self._hub.switch()
            finally:
                self._greenlet = None
                self.deadline = NEVER
        result, self._result = self._result, None
        if isinstance(result, BaseException):
            raise result
        return result

    def finish(self, result: Any) -> None:
        """Give the waiting greenlet its result. An exception is raised there.

        If the hub calls this, the greenlet continues at once. If another greenlet does, it
        continues soon, because nothing would switch back to the caller.
        """
        if self._result is None:
            self._result = result
            waiting = self._greenlet
            if waiting is None:
                return
            if getcurrent() is self._hub:
                self._greenlet = None
                waiting.switch()
            else:
                self._hub.loop.run_callback(self._wake)

    def _wake(self) -> None:
        """Switch to the greenlet if it still waits for this result."""
        waiting = self._greenlet
        if waiting is not None and self._result is not None:
            self._greenlet = None
            waiting.switch()

    def expire(self) -> None:
        """End the wait, unless the result has arrived in the meantime."""
        self._poll()
        if self._greenlet is not None and self.deadline <= clock.monotonic():
            self.expired = True
            self._greenlet.switch()
