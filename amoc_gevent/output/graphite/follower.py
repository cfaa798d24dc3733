"""A run's figures in Graphite: points at each interval, annotations as things happen.

Sending never holds up the run: greenlets of its own send, and unsent data is kept in bounds.
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
from amoc_gevent.output.graphite.keeping import Keeping, Leftover, Mark
from amoc_gevent.output.graphite.points import points_of
from amoc_gevent.output.graphite.target import Target

GRACE_S = 2.0
"""When an interval's points are sent, after its end: its seconds have been reported by then."""

FINISH_S = 5.0

RESENT_S = 600.0
"""What a restarted master sends again though it was sent: carbon may have died as well.

No carbon sums up points that are so young, or it would do so with those that are late.
"""


class Graphite(Output):
    """Sends to `target` what happens in the runs that it is told of; `say` prints for people.

    Intervals are of the clock, not of a run: two runs in one interval add up. Without `restore` it
    leaves nothing to the next master.
    """

    def __init__(self, target: Target, say: Callable[[str], None]) -> None:
        self._target = target
        self._intervals = Intervals(target.interval)
        self._carbon = Carbon(target.address, say)
        self._events = EventsSender(target.events, say) if target.events else None
        self._keeping: Keeping | None = None
        self._annotator: Annotator | None = None
        self._resumed: Run | None = None

    def started(self, run: Run) -> None:
        """Send what is measured in `run`."""
        self._annotator = Annotator(run)
        self._intervals.begin_run()

    def resumed(self, run: Run) -> None:
        """Go on with a run: its older figures are sent, or left by the earlier master."""
        self.started(run)
        self._resumed = run
        for event in run.events:
            self._annotation(event)
        self._intervals.know("operations", run.results.total.operations)
        self._intervals.know("counters", run.results.total.counters)

    def second(self, row: Measured) -> None:
        """Count it in its interval."""
        self._intervals.add(row.second, row.snapshot, row.health, row.users)

    def event(self, event: Event) -> None:
        """Post it as an annotation, if it is of a kind that Graphite shows."""
        annotation = self._annotation(event)
        if self._events is not None and annotation is not None:
            self._events.put([annotation])

    def ended(self, summary: RunOutcome) -> None:
        """Note how many users there were at the end."""
        self._intervals.note_users(summary.run.users, int(summary.run.ended_at))

    def tick(self, now: float) -> None:
        """Hand over the intervals that are complete by `now`."""
        self._put(now - GRACE_S, self._intervals)

    def restore(self, stored: Mapping[str, bytes]) -> None:
        """Send what an earlier master left, and leave to the next one what is unsent."""
        left = Leftover(stored)
        self._keeping = Keeping(self._intervals, self._carbon, self._events, stored)
        if left.mark is not None:
            self._send_left(left, left.mark)
        elif self._resumed is not None:
            self._intervals.close(self._resumed.results.newest + 1)

    def _annotation(self, event: Event) -> Annotation | None:
        return self._annotator.annotation(event) if self._annotator is not None else None

    def _send_left(self, left: Leftover, mark: Mark) -> None:
        """Send what an earlier master may not have sent, each interval as a whole, in order.

        It is not sent needlessly: carbon may have summed up what is old.
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

    def pending(self, *, anew: bool = False) -> StateChanges:
        """Return what is to be stored for the next master.

        That is what changed, or all that there is where nothing is stored yet (`anew`).
        """
        return self._keeping.pending(anew=anew) if self._keeping is not None else NO_CHANGES

    def stored(self) -> None:
        """Note that it is stored."""
        if self._keeping is not None:
            self._keeping.stored()

    def close(self) -> None:
        """Send what is left, the interval that is not over included; for 5 s at most."""
        self._put(float("inf"), self._intervals)
        finishing = [gevent.spawn(self._carbon.finish, FINISH_S)]
        if self._events is not None:
            finishing.append(gevent.spawn(self._events.finish, FINISH_S))
        gevent.joinall(finishing)

    def _put(self, through: float, intervals: Intervals) -> None:
        for interval in intervals.due(through):
            self._carbon.put(self._target.prefix, points_of(interval, intervals))
