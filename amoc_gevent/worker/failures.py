"""Groups the exceptions that leave a scenario's `start`: by type and place, with one traceback."""

import logging
from typing import Any

from gevent import Greenlet, GreenletExit

from amoc_gevent import clock
from amoc_gevent.core.measure.snapshot import UserError
from amoc_gevent.loading.loader import Scenario, place_of, trimmed_traceback
from amoc_gevent.metrics import Recorder

MESSAGE_MAX = 1_000
DETAIL_MAX = 10_000
"""Characters of an exception's text and of its traceback: both travel and are kept."""

log = logging.getLogger(__name__)


class UserErrors:
    """Records users' exceptions in the recorder's present snapshot.

    A traceback costs more than a request, so one is formatted for each group and second only.
    """

    def __init__(self, scenario: Scenario, recorder: Recorder) -> None:
        self._scenario = scenario
        self._recorder = recorder

    def watch(self, hub: Any) -> None:
        """Record what greenlets raise that the scenario spawned past `user.spawn`.

        gevent would print it, and end this process where it is a SystemExit.
        """
        handle_error = hub.handle_error

        def on_error(context: Any, kind: Any, error: Any, trace: Any) -> None:
            if isinstance(context, Greenlet) and isinstance(error, BaseException):
                if not isinstance(error, GreenletExit):
                    self.record(None, error)
            else:
                handle_error(context, kind, error, trace)

        hub.handle_error = on_error

    def record(self, user_id: int | None, error: BaseException) -> str:
        """Record that `start(user_id)` raised `error`; return it in one line.

        Without an id it was raised in a greenlet of the scenario that belongs to no round.
        """
        kind = type(error).__name__
        place = place_of(error, self._scenario.path)
        now = clock.wall()
        text = cut(text_of(error), MESSAGE_MAX)
        who = f"user {user_id}" if user_id is not None else "a greenlet beside the users"
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
    """Return `text`, its end replaced by three dots where it has more than `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def text_of(error: BaseException) -> str:
    """Return what an exception says, also where saying it raises."""
    try:
        return str(error)
    except Exception as failed:  # noqa: BLE001  # the boundary around a scenario's __str__
        return f"(its text cannot be had: {type(failed).__name__})"
