"""Records the exceptions that leave `start`, grouped by type and place, with one traceback."""

import logging
from typing import Any

from gevent import Greenlet, GreenletExit

from amoc_gevent import clock
from amoc_gevent.core.measure.snapshot import UserError
from amoc_gevent.loading.loader import Scenario, place_of, trimmed_traceback
from amoc_gevent.metrics import Recorder
from amoc_gevent.user import UserLeaving

MESSAGE_MAX = 1_000
DETAIL_MAX = 10_000
"""Limits, in characters, of an exception's text and traceback, which are sent and stored."""

log = logging.getLogger(__name__)


class UserErrors:
    """Records users' exceptions in the recorder's present snapshot.

    Formatting a traceback costs more than a request, so it is done once per group and second.
    """

    def __init__(self, scenario: Scenario, recorder: Recorder) -> None:
        self._scenario = scenario
        self._recorder = recorder

    def watch(self, hub: Any) -> None:
        """Record exceptions of greenlets that the scenario spawned without `user.spawn`.

        gevent would print them, and a SystemExit would end this process.
        """
        handle_error = hub.handle_error

        def on_error(context: Any, kind: Any, error: Any, trace: Any) -> None:
            if isinstance(context, Greenlet) and isinstance(error, BaseException):
                if not isinstance(error, (GreenletExit, UserLeaving)):
                    self.record(None, error)
            else:
                handle_error(context, kind, error, trace)

        hub.handle_error = on_error

    def record(self, user_id: int | None, error: BaseException) -> str:
        """Record that `start(user_id)` raised `error`; return a line about it.

        `user_id` is None if a greenlet raised it that belongs to no user.
        """
        kind = type(error).__name__
        place = place_of(error, self._scenario.path)
        now = clock.wall()
        text = cut(text_of(error), MESSAGE_MAX)
        who = f"user {user_id}" if user_id is not None else "a greenlet of no user"
        line = f"{who}: {text}"
        known = self._recorder.snapshot.errors.get((kind, place))
        if known is not None:
            known.count, known.last = known.count + 1, now
        else:
            detail = cut(trimmed_traceback(error, self._scenario), DETAIL_MAX)
            self._recorder.snapshot.add_error(UserError(kind, place, line, detail, 1, now, now))
            log.info("%s failed with %s at %s: %s", who, kind, place, text)
        return f"{kind} at {place}: {line}"


def cut(text: str, most: int) -> str:
    """Return `text`, shortened to `most` characters with three dots at the end if it is longer."""
    return text if len(text) <= most else text[: most - 3] + "..."


def text_of(error: BaseException) -> str:
    """Return the text of an exception, even if its `__str__` raises."""
    try:
        return str(error)
    except Exception as failed:  # noqa: BLE001  # the boundary around a scenario's __str__
        return f"(no text: __str__ raised {type(failed).__name__})"
