"""Groups the exceptions that leave a scenario's `start`: by type and place, with one traceback."""

import logging

from amoc_gevent import clock
from amoc_gevent.core.snapshot import UserError
from amoc_gevent.engine.loader import Scenario, place_of, trimmed_traceback
from amoc_gevent.metrics import Recorder

log = logging.getLogger(__name__)


class UserErrors:
    """Records users' exceptions in the recorder's present snapshot.

    A traceback costs more than a request, so one is formatted for each group and second only.
    """

    def __init__(self, scenario: Scenario, recorder: Recorder) -> None:
        self._scenario = scenario
        self._recorder = recorder

    def record(self, user_id: int, error: BaseException) -> str:
        """Record that `start(user_id)` raised `error`; return it in one line."""
        kind = type(error).__name__
        place = place_of(error, self._scenario.path)
        now = clock.wall()
        text = text_of(error)
        line = f"user {user_id}: {text}"
        known = self._recorder.snapshot.errors.get((kind, place))
        if known is not None:
            known.count, known.last = known.count + 1, now
        else:
            detail = trimmed_traceback(error, self._scenario)
            self._recorder.snapshot.add_error(UserError(kind, place, line, detail, 1, now, now))
            log.info("user %d failed with %s at %s: %s", user_id, kind, place, text)
        return f"{kind} at {place}: {line}"


def text_of(error: BaseException) -> str:
    """Return what an exception says, also where saying it raises."""
    try:
        return str(error)
    except Exception as failed:  # noqa: BLE001  # the boundary around a scenario's __str__
        return f"(its text cannot be had: {type(failed).__name__})"
