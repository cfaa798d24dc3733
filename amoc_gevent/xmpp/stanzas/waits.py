"""A greenlet's wait for a stanza, ended by the hub, by the worker's one timer or by an error."""

from collections.abc import Callable
from typing import Any

from gevent import get_hub
from greenlet import getcurrent, greenlet

from amoc_gevent import clock
from amoc_gevent.transport import NEVER, Timed

Match = Callable[[Any], bool]


class Wait(Timed):
    """One greenlet's wait, used again and again; `match` says for which stanza.

    `look` is called before a time-out counts: what has arrived while the process was busy did not
    come too late.
    """

    __slots__ = ("_greenlet", "_hub", "_look", "_result", "match")

    def __init__(self, look: Callable[[], object]) -> None:
        super().__init__()
        self._hub: Any = get_hub()
        self._greenlet: greenlet | None = None
        self._look = look
        self._result: Any = None
        self.match: Match | None = None

    def begin(self, match: Match | None = None) -> None:
        """Take results from now on, those that come before `until` included."""
        self._result = None
        self.match = match

    def until(self, timeout: float) -> Any:
        """Return what came, None after `timeout` seconds. Raises what `finish` was given to raise.

        It must not wait on the hub itself.
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
        """Give the waiting greenlet its result, which is raised if it is an exception.

        It goes on at once when the hub calls this. When another greenlet does, it goes on soon, for
        that one has not finished, and nothing would bring it back.
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
        """Let the greenlet go on, if it is still for this that it waits."""
        waiting = self._greenlet
        if waiting is not None and self._result is not None:
            self._greenlet = None
            waiting.switch()

    def expire(self) -> None:
        """End the wait, unless what it is for has arrived in the meantime."""
        self._look()
        if self._greenlet is not None and self.deadline <= clock.monotonic():
            self.expired = True
            self._greenlet.switch()
