"""Records refused reports as events of their run, since their figures are lost."""

from amoc_gevent import clock
from amoc_gevent.core.messages import Event

REFUSALS_REPORTED = 100
TEXT_MAX = 300


class Refusals:
    """Counts the refused reports of a run. The first hundred become events."""

    def __init__(self) -> None:
        self._count = 0

    def event(self, what: str, error: Exception) -> Event | None:
        """Return an event for one refused report of `what`, or None after the first hundred."""
        self._count += 1
        if self._count > REFUSALS_REPORTED:
            return None
        text = f"a report of {what} was refused, its figures are lost: {error}"[:TEXT_MAX]
        return Event(clock.wall(), "report-refused", text)
