"""Feeds the seconds and events of a master's runs to its outputs.

Each output is called from its own greenlet, behind a boundary: an output that raises or blocks
affects neither the run nor the other outputs.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import gevent
from gevent.event import Event as Flag
from gevent.lock import BoundedSemaphore

from amoc_gevent import clock
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import Health, UserCounts
from amoc_gevent.core.output_state import NO_CHANGES, DurableOutput, StateChanges
from amoc_gevent.core.records import Measured
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.base import Output, RunOutcome

log = logging.getLogger(__name__)

AFTER_THE_SECOND = 0.25
"""Delay of the tick after each second, in s: the second's reports have arrived by then."""

CLOSE_S = 1.0
"""Seconds that closing waits for a busy output."""


class RunFeed:
    """Feeds the `current` run to its outputs, and each later run in turn.

    The owner of the runs calls `poll` often. A run that exists at construction was begun by an
    earlier master: outputs resume it. `note(kind, text)` records an event of the run.
    """

    def __init__(self, current: Callable[[], Run | None], note: Callable[[str, str], None]) -> None:
        self._current = current
        self._note = note
        self._first = current()
        self._left: dict[str, bytes] = {}
        self._subscriptions: list[Subscription] = []
        self._failures: list[str] = []
        self._seen: object = None
        self._beat = _beat()
        self._closed = False

    def restore(self, stored: Mapping[str, bytes]) -> None:
        """Take over what an earlier master's outputs stored; call it before the first `add`."""
        self._left = dict(stored)

    def add(
        self, output: Output, name: str = "", stored: Mapping[str, bytes] | None = None
    ) -> None:
        """Feed `output` from the current run on.

        A durable output continues from `stored`, or from its part of what `restore` got.
        """
        run, prefix = self._current(), f"{name}/"
        resumed = run if run is not None and run is self._first else None
        found = Subscription(output, name, self._failures.append)
        found.begin(self._part(prefix) if stored is None else stored, resumed)
        self._subscriptions.append(found)
        found.feed(run)

    def _part(self, prefix: str) -> dict[str, bytes]:
        """Remove the entries whose keys have this prefix; return them without the prefix."""
        keys = [key for key in self._left if key.startswith(prefix)]
        return {key.removeprefix(prefix): self._left.pop(key) for key in keys}

    def remove(self, output: Output) -> None:
        """Stop feeding `output`."""
        for found in [one for one in self._subscriptions if one.output is output]:
            self._subscriptions.remove(found)
            found.end()

    def poll(self) -> None:
        """Wake the outputs if something is new or a second is over. It never waits."""
        run = self._current()
        while self._failures:
            self._note("output-failed", self._failures.pop(0))
        seen = (run.id, len(run.events), run.active) if run is not None else None
        beat = _beat()
        ticks = beat != self._beat
        if seen == self._seen and not ticks:
            return
        self._seen, self._beat = seen, beat
        for one in self._subscriptions:
            one.wake(run, ticks=ticks)

    def each_second(self, run: Run) -> Iterator[None]:
        """Yield at once, then after each second of `run`, and a last time when it ends."""
        waking = _Waking()
        self.add(waking, "view")
        try:
            while run.active:
                yield
                waking.due.wait()
                waking.due.clear()
            yield
        finally:
            self.remove(waking)

    def pending(self, *, full: bool = False) -> StateChanges:
        """Return what the durable outputs have to store: the changes, or with `full` everything."""
        put: dict[str, bytes] = {}
        drop = [] if full else [*self._left]
        for one in self._subscriptions:
            one.feed_durable(self._current())
            changed = one.pending(full=full)
            put |= {f"{one.name}/{key}": data for key, data in changed.put.items()}
            drop += [f"{one.name}/{key}" for key in changed.drop]
        return StateChanges(put, drop)

    def stored(self) -> None:
        """Mark the pending changes as stored."""
        self._left.clear()
        for one in self._subscriptions:
            one.stored()

    def close(self) -> None:
        """Feed the remaining data to the outputs and close them.

        Later data stays pending for the next master. Closing is idempotent.
        """
        if self._closed:
            return
        self._closed = True
        for one in (*self._subscriptions,):  # a copy: closing takes time, and views come and go
            one.close(self._current())


class Subscription:
    """One output and its position in the run; `failed` gets a line when it is disconnected."""

    def __init__(self, output: Output, name: str, failed: Callable[[str], None]) -> None:
        self.output = output
        self.name = name
        self._failed = failed
        self._run: Run | None = None
        self._now: Run | None = None
        self._position = 0
        self._over = self._broken = self._restored = self._asked = self._ticks = False
        self._feeding = BoundedSemaphore()
        self._woken = Flag()
        self._greenlet = gevent.spawn(self._follow)

    def begin(self, stored: Mapping[str, bytes], resumed: Run | None) -> None:
        """Resume this run, if any, and then restore the stored data."""
        with self._boundary():
            if resumed is not None:
                self._run, self._position = resumed, len(resumed.events)
                self._over = not resumed.active
                self.output.resumed(resumed)
                resumed.results.watch(self._second, from_now=True)
            if isinstance(self.output, DurableOutput):
                self.output.restore(stored)
                self._restored = True

    def wake(self, run: Run | None, *, ticks: bool) -> None:
        """Wake the greenlet that feeds `run` to the output."""
        self._now, self._ticks = run, self._ticks or ticks
        self._woken.set()

    def feed(self, run: Run | None, timeout: float = 0.0) -> None:
        """Feed the news of `run`, unless the output is still busy after `timeout` seconds."""
        self._now = run
        if not self._feeding.acquire(blocking=timeout > 0, timeout=timeout or None):
            return
        try:
            with self._boundary():
                self._feed()
        finally:
            self._feeding.release()

    def feed_durable(self, run: Run | None) -> None:
        """Feed the updates of `run`, if the output is durable."""
        if self._restored:
            self.feed(run)

    def pending(self, *, full: bool) -> StateChanges:
        """Return what the output has to store; nothing while it is disconnected."""
        self._asked = False
        found = NO_CHANGES
        if self._restored and not self._broken and isinstance(self.output, DurableOutput):
            with self._boundary():
                found = self.output.pending(full=full)
                self._asked = True
        return found

    def stored(self) -> None:
        """Mark the pending changes as stored."""
        if self._asked and isinstance(self.output, DurableOutput):
            self._asked = False
            with self._boundary():
                self.output.stored()

    def close(self, run: Run | None) -> None:
        """Feed the remaining data, and close the output."""
        self.feed(run, CLOSE_S)
        self._greenlet.kill()
        with self._boundary():
            self.output.close()

    def end(self) -> None:
        """Stop feeding the output."""
        self._unwatch()
        self._broken = True
        self._greenlet.kill(block=False)

    def _follow(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            self.feed(self._now, timeout=CLOSE_S)

    def _feed(self) -> None:
        """Feed the remaining updates of the last run, then those of the current one."""
        if self._run is not None:
            self._go_on(self._run)
        run = self._now
        if run is not None and run is not self._run:
            self._take_up(run)
            self._go_on(run)
        if self._ticks and not self._broken:
            self._ticks = False
            self.output.tick(clock.steady())

    def _take_up(self, run: Run) -> None:
        self._unwatch()
        self._run, self._position, self._over, self._broken = run, 0, False, False
        self.output.started(run)
        run.results.watch(self._second)

    def _go_on(self, run: Run) -> None:
        while self._position < len(run.events) and not self._broken:
            self._position += 1
            self.output.event(run.events[self._position - 1])
        if not (run.active or self._over or self._broken):
            self._over = True
            self.output.ended(RunOutcome(run))

    def _second(
        self, second: int, snapshot: Snapshot, health: Sequence[Health], users: UserCounts
    ) -> None:
        if not self._broken:
            with self._boundary():
                self.output.second(Measured(second, snapshot, tuple(health), users))

    def _unwatch(self) -> None:
        if self._run is not None:
            self._run.results.unwatch(self._second)

    @contextmanager
    def _boundary(self) -> Iterator[None]:
        """Disconnect the output until the next run if it raises."""
        try:
            yield
        except Exception as error:  # the boundary around an output: the run goes on without it
            name = self.name or type(self.output).__name__
            log.exception("output %s failed", name)
            self._unwatch()
            if not self._broken:
                self._broken = True
                self._failed(
                    f"output {name} failed: {type(error).__name__}: {error}; "
                    "it gets nothing more of this run"
                )


class _Waking(Output):
    """Wakes a view: sets `due` at each tick and at the end of the run."""

    def __init__(self) -> None:
        self.due = Flag()

    def tick(self, now: float) -> None:  # noqa: ARG002  # the view asks the clock itself
        """Wake the view."""
        self.due.set()

    def ended(self, summary: RunOutcome) -> None:  # noqa: ARG002  # the view has the run
        """Wake the view for the last time."""
        self.due.set()


def _beat() -> int:
    """Return the latest second whose reports have arrived."""
    return int(clock.steady() - AFTER_THE_SECOND)
