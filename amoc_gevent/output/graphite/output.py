"""The Graphite output: sends points after each interval, and annotations as events happen.

Sending never delays the run: separate greenlets send from bounded buffers.
"""

from collections.abc import Callable, Mapping

import gevent

from amoc_gevent import clock
from amoc_gevent.core.messages import Event
from amoc_gevent.core.output_state import NO_CHANGES, StateChanges
from amoc_gevent.core.records import Measured
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.base import Output, RunOutcome
from amoc_gevent.output.graphite.annotations import Annotation, Annotator, EventsSender
from amoc_gevent.output.graphite.carbon import Carbon
from amoc_gevent.output.graphite.intervals import Intervals
from amoc_gevent.output.graphite.persistence import ChangeTracker, Mark, StoredIntervals
from amoc_gevent.output.graphite.points import points_of
from amoc_gevent.output.graphite.target import Target

GRACE_S = 2.0
"""Seconds from the end of an interval until its points are sent: its reports are in by then."""

FINISH_S = 5.0

RESENT_S = 600.0
"""Seconds of points that a restarted master sends again: carbon may have died as well.

Carbon does not aggregate points this young, or it would also aggregate late ones.
"""


class Graphite(Output):
    """Sends the figures and events of runs to `target`; `say` prints a line for people.

    Intervals follow the wall clock, not the run: two runs in one interval are added up. Nothing is
    stored for the next master unless `restore` is called.
    """

    def __init__(self, target: Target, say: Callable[[str], None]) -> None:
        self._target = target
        self._intervals = Intervals(target.interval)
        self._carbon = Carbon(target.address, say)
        self._events = EventsSender(target.events, say) if target.events else None
        self._changes: ChangeTracker | None = None
        self._annotator: Annotator | None = None
        self._resumed: Run | None = None

    def started(self, run: Run) -> None:
        """Start sending the figures of `run`."""
        self._annotator = Annotator(run)
        self._intervals.begin_run()

    def resumed(self, run: Run) -> None:
        """Continue a run of an earlier master, which has sent or stored the older figures."""
        self.started(run)
        self._resumed = run
        for event in run.events:
            self._annotation(event)
        self._intervals.register_names("operations", run.results.total.operations)
        self._intervals.register_names("counters", run.results.total.counters)

    def second(self, row: Measured) -> None:
        """Add a second to its interval."""
        self._intervals.add(row.second, row.snapshot, row.health, row.users)

    def event(self, event: Event) -> None:
        """Post an event as an annotation, if its kind is one that is posted."""
        annotation = self._annotation(event)
        if self._events is not None and annotation is not None:
            self._events.put([annotation])

    def ended(self, summary: RunOutcome) -> None:
        """Record the number of users at the end."""
        self._intervals.note_users(summary.run.users, int(summary.run.ended_at))

    def tick(self, now: float) -> None:
        """Send the intervals that are complete at `now`."""
        self._put(now - GRACE_S, self._intervals)

    def restore(self, stored: Mapping[str, bytes]) -> None:
        """Send what an earlier master stored, and start to keep track of what to store."""
        left = StoredIntervals(stored)
        self._changes = ChangeTracker(self._intervals, self._carbon, self._events, stored)
        if left.mark is not None:
            self._send_left(left, left.mark)
        elif self._resumed is not None:
            self._intervals.close(self._resumed.results.newest + 1)

    def _annotation(self, event: Event) -> Annotation | None:
        return self._annotator.annotation(event) if self._annotator is not None else None

    def _send_left(self, left: StoredIntervals, mark: Mark) -> None:
        """Send each interval that an earlier master may not have sent, whole and in order.

        Older intervals are not sent again: carbon may have aggregated them.
        """
        now = clock.steady()
        self._intervals.close(mark.begin)
        for seconds, interval in left.intervals():
            unsent = mark.waiting is not None and interval.start >= mark.waiting
            among = self._intervals
            if seconds != among.seconds:
                among.close(interval.start + seconds)
                among = Intervals(seconds)
            among.adopt(interval, changed=unsent or interval.start > now - RESENT_S)
            self._put(now - GRACE_S if among is self._intervals else float("inf"), among)
        if self._events is not None:
            self._events.put(left.annotations)

    def pending(self, *, full: bool = False) -> StateChanges:
        """Return what to store for the next master: the changes, or with `full` everything."""
        return self._changes.pending(full=full) if self._changes is not None else NO_CHANGES

    def stored(self) -> None:
        """Note that the pending changes are stored."""
        if self._changes is not None:
            self._changes.stored()

    def close(self) -> None:
        """Send the rest within 5 s, including the interval that is not over."""
        self._put(float("inf"), self._intervals)
        finishing = [gevent.spawn(self._carbon.finish, FINISH_S)]
        if self._events is not None:
            finishing.append(gevent.spawn(self._events.finish, FINISH_S))
        gevent.joinall(finishing)

    def _put(self, through: float, intervals: Intervals) -> None:
        for interval in intervals.due(through):
            self._carbon.put(self._target.prefix, points_of(interval, intervals))
