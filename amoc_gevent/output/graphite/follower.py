"""A run's figures in Graphite: points at each interval, annotations as things happen.

It reads the run as the other outputs do and disturbs it as little: what it sends, it sends from
greenlets of its own, and what Graphite does not take is kept in bounds.
"""

from collections.abc import Callable, Mapping

import gevent

from amoc_gevent import clock
from amoc_gevent.core.pending import NOTHING, Pending
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.graphite.annotations import Annotator, EventsSender
from amoc_gevent.output.graphite.carbon import Carbon
from amoc_gevent.output.graphite.intervals import Intervals
from amoc_gevent.output.graphite.keeping import Keeping, Left, Mark
from amoc_gevent.output.graphite.points import points_of
from amoc_gevent.output.graphite.target import Target

GRACE_S = 2.0
"""When an interval's points are sent, after its end: its seconds have been reported by then."""

POLL_S = 0.25
FINISH_S = 5.0

RESENT_S = 600.0
"""What a restarted master sends again though it was sent: carbon may have died as well.

No carbon sums up points that are so young, or it would do so with those that are late.
"""


class Graphite:
    """Sends to `target` what happens in the runs that it follows; `say` gets lines for people.

    Intervals are of the clock, not of a run: two runs in one interval add up.
    """

    def __init__(self, target: Target, say: Callable[[str], None]) -> None:
        self._target = target
        self._intervals = Intervals(target.interval)
        self._carbon = Carbon(target.address, say)
        self._events = EventsSender(target.events, say) if target.events else None
        self._keeping: Keeping | None = None
        self._current: Callable[[], Run | None] = lambda: None
        self._run: Run | None = None
        self._annotator: Annotator | None = None
        self._over = False
        self._polling = gevent.spawn(self._poll)

    def follow(self, run: Run, stored: Mapping[str, bytes] | None = None) -> None:
        """Send what is measured in `run`, and what an earlier one's `pending` left `stored`."""
        if stored is not None:
            self._go_on(stored)
        self._look()
        self._take_up(run)
        run.results.watch(self._intervals.add)

    def follow_all(self, current: Callable[[], Run | None], stored: Mapping[str, bytes]) -> None:
        """Follow each run that is the `current` one, until `finish`.

        That of now was resumed by a restarted master: what was measured in it is sent by now, or in
        what an earlier master's `pending` left `stored`.
        """
        run = current()
        if run is not None:
            self._take_up(run)
            self._skip_past(run)
        if not self._go_on(stored) and run is not None:
            self._intervals.close(run.results.newest + 1)
        self._current = current

    def _go_on(self, stored: Mapping[str, bytes]) -> bool:
        """Send what is left; return whether anything was."""
        left = Left(stored)
        self._keeping = Keeping(self._intervals, self._carbon, self._events, stored)
        if left.mark is not None:
            self._send_left(left, left.mark)
        return left.mark is not None

    def _take_up(self, run: Run) -> None:
        self._run, self._annotator, self._over = run, Annotator(run), False
        self._intervals.begin_run()

    def _skip_past(self, run: Run) -> None:
        """Go on with a run without what is in the store of it."""
        if self._annotator is not None:
            self._annotator.new()
        self._intervals.know("operations", run.results.total.operations)
        self._intervals.know("counters", run.results.total.counters)
        run.results.watch(self._intervals.add, from_now=True)

    def _send_left(self, left: Left, mark: Mark) -> None:
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

    def pending(self, *, anew: bool = False) -> Pending:
        """Return what is to be stored for the next master, up to this moment of the run.

        That is what changed, or all that there is where nothing is stored yet (`anew`).
        """
        self._look()
        return self._keeping.pending(anew=anew) if self._keeping is not None else NOTHING

    def stored(self) -> None:
        """Note that it is stored."""
        if self._keeping is not None:
            self._keeping.stored()

    def finish(self) -> None:
        """Send what is left, the interval that is not over included; for 5 s at most."""
        self._polling.kill()
        self._look()
        self._put(float("inf"), self._intervals)
        finishing = [gevent.spawn(self._carbon.finish, FINISH_S)]
        if self._events is not None:
            finishing.append(gevent.spawn(self._events.finish, FINISH_S))
        gevent.joinall(finishing)

    def send_due(self) -> None:
        """Hand over what is due by now."""
        self._look()
        self._put(clock.steady() - GRACE_S, self._intervals)

    def _poll(self) -> None:
        while True:
            gevent.sleep(POLL_S)
            self.send_due()

    def _look(self) -> None:
        """Take over what happened in the run that is followed, and follow the next one."""
        self._take_over()
        run = self._current()
        if run is not None and run is not self._run:
            self._take_up(run)
            run.results.watch(self._intervals.add)
            self._take_over()

    def _take_over(self) -> None:
        run = self._run
        if self._events is not None and self._annotator is not None:
            self._events.put(self._annotator.new())
        if run is not None and run.ended_at and not self._over:
            self._over = True
            self._intervals.note_users(run.users, int(run.ended_at))

    def _put(self, through: float, intervals: Intervals) -> None:
        for interval in intervals.due(through):
            self._carbon.put(self._target.prefix, points_of(interval, intervals))
