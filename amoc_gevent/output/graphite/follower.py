"""A run's figures in Graphite: points at each interval, annotations as things happen.

It reads the run as the other outputs do and disturbs it as little: what it sends, it sends from
greenlets of its own, and what Graphite does not take is kept in bounds.
"""

from collections.abc import Callable

import gevent

from amoc_gevent import clock
from amoc_gevent.core.run import Run
from amoc_gevent.output.graphite.annotations import Annotator, EventsSender
from amoc_gevent.output.graphite.carbon import Carbon
from amoc_gevent.output.graphite.intervals import Intervals
from amoc_gevent.output.graphite.points import points_of
from amoc_gevent.output.graphite.target import Target

GRACE_S = 2.0
"""When an interval's points are sent, after its end: its seconds have been reported by then."""

POLL_S = 0.25
FINISH_S = 5.0


class Graphite:
    """Sends to `target` what happens in the runs that it follows; `say` gets lines for people.

    Intervals are of the clock, not of a run: two runs in one interval add up.
    """

    def __init__(self, target: Target, say: Callable[[str], None]) -> None:
        self._target = target
        self._intervals = Intervals(target.interval)
        self._carbon = Carbon(target.address, say)
        self._events = EventsSender(target.events, say) if target.events else None
        self._run: Run | None = None
        self._annotator: Annotator | None = None
        self._over = False
        self._loops = [gevent.spawn(self._poll)]

    def follow(self, run: Run, *, resumed: bool = False) -> None:
        """Send what is measured in `run` from now on.

        Of a run that a restarted master `resumed`, what is not open any more was sent before, and
        so were its events.
        """
        self._send()
        self._run, self._annotator, self._over = run, Annotator(run), False
        self._intervals.begin_run()
        if resumed:
            self._annotator.new()
        if run.results.rows:
            self._intervals.resume(run.results.rows)
        run.results.watch(self._intervals.add)

    def follow_all(self, current: Callable[[], Run | None]) -> None:
        """Follow each run that is the `current` one, until `finish`; that of now was resumed."""
        run = current()
        if run is not None:
            self.follow(run, resumed=True)
        self._loops.append(gevent.spawn(lambda: self._follow_new(current)))

    def _follow_new(self, current: Callable[[], Run | None]) -> None:
        while True:
            run = current()
            if run is not None and run is not self._run:
                self.follow(run)
            gevent.sleep(POLL_S)

    def finish(self) -> None:
        """Send what is left, the interval that is not over included; for 5 s at most."""
        gevent.killall(self._loops)
        self._send()
        self._put(float("inf"))
        deadline = clock.monotonic() + FINISH_S
        if self._events is not None:
            self._events.finish(FINISH_S)
        self._carbon.finish(max(0.0, deadline - clock.monotonic()))

    def _poll(self) -> None:
        while True:
            gevent.sleep(POLL_S)
            self._send()

    def _send(self) -> None:
        """Hand over what is due."""
        run, now = self._run, clock.steady()
        if self._events is not None and self._annotator is not None:
            self._events.put(self._annotator.new())
        if run is not None and run.ended_at and not self._over:
            self._over = True
            self._intervals.note_users(run.users, int(run.ended_at))
        self._put(now - GRACE_S)

    def _put(self, through: float) -> None:
        for interval in self._intervals.due(through):
            self._carbon.put(self._target.prefix, points_of(interval, self._intervals))
