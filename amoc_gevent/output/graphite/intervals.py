"""Collects measurements by interval of the wall clock.

A report counts in the interval of its own second, even if it comes late: the changed point is sent
again, and Graphite keeps the later value. So the counts of all points add up to those of the
summary. An interval must be sent whole: its points replace those sent before, including those of an
earlier master or an earlier run.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from amoc_gevent.core.measure.histogram import Histogram
from amoc_gevent.core.measure.results import NO_USERS, lag_of, marks_of
from amoc_gevent.core.measure.snapshot import OTHER, Operation, Snapshot
from amoc_gevent.core.messages import Health, UserCounts
from amoc_gevent.output.graphite.names import component

OPEN_S = 120
"""Seconds for which an interval takes reports; later reports count in the oldest open one."""

ONE_S = 60
"""Seconds of `one`, the count of the last minute in amoc's spirals."""

UNSTORED_MAX = 100
"""Intervals held in memory at most while they cannot be stored."""

NAMES_MAX = 500
"""Names of each kind (operations, counters, ...); further ones share the name of `OTHER`."""

K = TypeVar("K")
T = TypeVar("T")


@dataclass(slots=True)
class IntervalOperation:
    """An operation in one interval; latency in µs."""

    count: int = 0
    errors: int = 0
    interrupted: int = 0
    latency: Histogram = field(default_factory=Histogram)

    def merge(self, other: "IntervalOperation | Operation") -> None:
        """Add the counts and latencies of `other`."""
        self.count += other.count
        self.errors += other.errors
        self.interrupted += other.interrupted
        self.latency.merge(other.latency)


@dataclass(slots=True)
class NodeFigures:
    """The health of a node in one interval: the worst worker's values, but memory by worker."""

    cpu: float = 0.0
    lag_us: int = 0
    descriptors: int = 0
    memory: dict[int, int] = field(default_factory=dict)
    overloaded: set[int] = field(default_factory=set)

    def note(self, one: Health) -> None:
        """Add the health of one worker in one second."""
        self.cpu = max(self.cpu, one.cpu)
        self.lag_us = max(self.lag_us, lag_of(one))
        self.descriptors = max(self.descriptors, one.descriptors)
        self.memory[one.worker] = one.rss
        if {"lag", "cpu"}.intersection(marks_of([one])):
            self.overloaded.add(one.second)

    def merge(self, later: "NodeFigures") -> None:
        """Add figures that were reported later."""
        self.cpu = max(self.cpu, later.cpu)
        self.lag_us = max(self.lag_us, later.lag_us)
        self.descriptors = max(self.descriptors, later.descriptors)
        self.memory |= later.memory
        self.overloaded |= later.overloaded


@dataclass(slots=True)
class Levels:
    """Gauges in one second, summed over the `nodes` that have reported."""

    nodes: set[str] = field(default_factory=set)
    sums: dict[str, float] = field(default_factory=dict)

    def merge(self, other: "Levels") -> None:
        """Add the levels of other nodes."""
        self.nodes |= other.nodes
        for name, value in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value


@dataclass(slots=True)
class Interval:
    """The measurements of one interval; `changed` if its points must be sent."""

    start: int
    operations: dict[str, IntervalOperation] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)
    levels: dict[int, Levels] = field(default_factory=dict)
    nodes: dict[str, NodeFigures] = field(default_factory=dict)
    users: UserCounts = NO_USERS
    users_second: int = 0
    started: int = 0
    iterations: int = 0
    failed: int = 0
    changed: bool = True

    @property
    def gauges(self) -> dict[str, float]:
        """The gauges of the latest among the seconds that the most nodes reported."""
        if not self.levels:
            return {}
        last = max(self.levels, key=lambda second: (len(self.levels[second].nodes), second))
        return self.levels[last].sums

    def note_users(self, users: UserCounts, second: int) -> None:
        """Set the users at `second`, unless those of a later second are known."""
        if second >= self.users_second:
            self.users_second, self.users = second, users

    def merge(self, later: "Interval") -> None:
        """Add a part of the same interval that was reported later."""
        for name, operation in later.operations.items():
            _get_or_create(self.operations, name, IntervalOperation).merge(operation)
        for name, value in later.counters.items():
            self.counters[name] = self.counters.get(name, 0) + value
        for name, histogram in later.histograms.items():
            _get_or_create(self.histograms, name, Histogram).merge(histogram)
        for second, levels in later.levels.items():
            _get_or_create(self.levels, second, Levels).merge(levels)
        for name, node in later.nodes.items():
            _get_or_create(self.nodes, name, NodeFigures).merge(node)
        self.note_users(later.users, later.users_second)
        self.started += later.started
        self.iterations += later.iterations
        self.failed += later.failed


class Intervals:
    """Adds reported seconds to intervals; `due` returns the intervals to send.

    With `stores`, `unstored` returns the parts that came in since `mark_stored` was last called.
    """

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.stores = False
        self._open: dict[int, Interval] = {}
        self._unstored: dict[int, Interval] = {}
        self._closed_before = 0
        self._names: dict[str, dict[str, str]] = {}

    def begin_run(self) -> None:
        """Forget the names of earlier runs."""
        self._names.clear()

    def register_names(self, kind: str, names: Iterable[str]) -> None:
        """Register the names of a resumed run, in the order in which they were first seen."""
        for name in names:
            self._name(kind, name)

    def adopt(self, interval: Interval, *, changed: bool) -> None:
        """Take over an interval of an earlier master; `changed` if it must be sent."""
        interval.changed = changed
        self._prune(interval.start)
        self._open[interval.start] = interval

    def close(self, before: int) -> None:
        """Count reports of seconds before `before` in the next interval."""
        self._closed_before = max(self._closed_before, before - before % -self.seconds)

    @property
    def begin(self) -> int:
        """The start of the earliest interval that can still change."""
        return min(self._open, default=self._closed_before)

    def oldest_changed(self) -> int | None:
        """Return the start of the earliest interval to send."""
        return min((start for start, one in self._open.items() if one.changed), default=None)

    def unstored(self) -> list[Interval]:
        """Return the parts that came in since `mark_stored` was last called, in order."""
        return [self._unstored[start] for start in sorted(self._unstored)]

    def all(self) -> list[Interval]:
        """Return the intervals that can still change, and the unstored parts of earlier ones."""
        found = self._unstored | self._open
        return [found[start] for start in sorted(found)]

    def mark_stored(self) -> None:
        """Note that all parts are stored."""
        self._unstored.clear()

    def add(
        self, second: int, snapshot: Snapshot, health: Sequence[Health], users: UserCounts
    ) -> None:
        """Add the measurements of some nodes in `second`; `users` counts those of all nodes."""
        interval = self._interval(second - second % self.seconds)
        for part in self._parts(interval):
            self._count(part, snapshot)
            part.note_users(users, second)
            for one in health:
                _get_or_create(part.nodes, self._name("nodes", one.node), NodeFigures).note(one)
            self._note_levels(part, second, snapshot, health)
        for later in self._open.values():
            if interval.start <= later.start < interval.start + ONE_S:
                later.changed = True  # its `one` counts this interval too

    def note_users(self, users: UserCounts, second: int) -> None:
        """Set the users at `second`, the end of their run."""
        interval = self._interval(second - second % self.seconds)
        for part in self._parts(interval):
            part.users_second, part.users = second, users
        interval.changed = True

    def due(self, through: float) -> list[Interval]:
        """Return the intervals that ended by `through` and are new or changed, in order."""
        found = [
            self._open[start]
            for start in sorted(self._open)
            if self._open[start].changed and start + self.seconds <= through
        ]
        for interval in found:
            interval.changed = False
        return found

    def names(self, kind: str) -> list[str]:
        """Return the Graphite names of a kind, those idle in this interval included."""
        known = self._names.get(kind, {})
        found = dict.fromkeys(known.values())
        return list(found | {component(OTHER): None} if len(known) >= NAMES_MAX else found)

    def last_minute(self, interval: Interval, counter: str) -> int:
        """Return the increase of `counter` in the minute up to the interval's end."""
        first = interval.start + self.seconds - max(ONE_S, self.seconds)
        return sum(
            one.counters.get(counter, 0)
            for start, one in self._open.items()
            if first <= start <= interval.start
        )

    def _interval(self, start: int) -> Interval:
        """Return the interval that takes reports for `start`, and close the old ones."""
        keep_from = self._prune(start)
        if start < keep_from and start not in self._open:
            start = min(self._open, default=keep_from - keep_from % -self.seconds)
        return self._open.setdefault(start, Interval(start))

    def _parts(self, interval: Interval) -> list[Interval]:
        """Return the interval and the part of it that is to be stored; both take the report.

        If parts cannot be stored for long, the earliest are dropped.
        """
        if not self.stores:
            return [interval]
        part = self._unstored.setdefault(interval.start, Interval(interval.start))
        if len(self._unstored) > UNSTORED_MAX:
            del self._unstored[min(self._unstored)]
        return [interval, part]

    def _prune(self, start: int) -> int:
        """Close the intervals that are too old next to `start`; return the first second to keep."""
        newest = max(self._open, default=start)
        keep_from = max(self._closed_before, max(newest, start) - max(OPEN_S, self.seconds))
        for old in [
            kept for kept in self._open if kept < keep_from and not self._open[kept].changed
        ]:
            del self._open[old]
        return keep_from

    def _count(self, interval: Interval, snapshot: Snapshot) -> None:
        for name, one in snapshot.operations.items():
            path = self._name("operations", name)
            _get_or_create(interval.operations, path, IntervalOperation).merge(one)
        for name, (_, histogram) in snapshot.histograms.items():
            _get_or_create(interval.histograms, self._name("histograms", name), Histogram).merge(
                histogram
            )
        for name, value in snapshot.counters.items():
            path = self._name("counters", name)
            interval.counters[path] = interval.counters.get(path, 0) + value
        interval.started += snapshot.started
        interval.iterations += snapshot.iterations
        interval.failed += snapshot.failed

    def _note_levels(
        self, interval: Interval, second: int, snapshot: Snapshot, health: Sequence[Health]
    ) -> None:
        """Add the gauges of a second. Each node's part comes once, alone or merged with others."""
        if not snapshot.gauges:
            return
        found = _get_or_create(interval.levels, second, Levels)
        found.nodes.update(one.node for one in health)
        for name, gauge in snapshot.gauges.items():
            path = self._name("gauges", name)
            found.sums[path] = found.sums.get(path, 0.0) + gauge.value

    def _name(self, kind: str, name: str) -> str:
        """Return the Graphite name of `name`, or that of `OTHER` after `NAMES_MAX` names."""
        known = self._names.setdefault(kind, {})
        found = known.get(name)
        if found is None:
            if len(known) >= NAMES_MAX:
                return component(OTHER)
            found = known[name] = component(name)
        return found


def _get_or_create(found: dict[K, T], key: K, make: Callable[[], T]) -> T:
    if key not in found:
        found[key] = make()
    return found[key]
