"""What was measured in each interval of the clock, by the seconds that lie in it.

An interval's figures are those of its own seconds, whenever their reports come: a report that comes
late changes a point that was sent, which is then sent again, and Graphite keeps the later one. So
the counts of all points sum to those of the summary. An interval that is sent must be whole: it
replaces what was sent of it before, by an earlier master too, and for an earlier run.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from amoc_gevent.core.measure.histogram import Histogram
from amoc_gevent.core.measure.results import NO_USERS, lag_of, marks_of
from amoc_gevent.core.measure.snapshot import OTHER, Operation, Snapshot
from amoc_gevent.core.messages import Health, UserCounts
from amoc_gevent.output.graphite.names import component

KEPT_S = 120
"""For how long an interval takes reports; those that come later yet count in the oldest one."""

ONE_S = 60
"""What amoc's spirals call `one`: the count of the last minute."""

UNKEPT_MAX = 100
"""Intervals of which parts are held in memory because they could not be stored."""

NAMES_MAX = 500
"""Operations, counters, histograms and gauges with names of their own; others count as one."""

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
        """Add all of `other`."""
        self.count += other.count
        self.errors += other.errors
        self.interrupted += other.interrupted
        self.latency.merge(other.latency)


@dataclass(slots=True)
class NodeFigures:
    """How a node fared in one interval: the worst of its workers, but memory is of all of them."""

    cpu: float = 0.0
    lag_us: int = 0
    descriptors: int = 0
    memory: dict[int, int] = field(default_factory=dict)
    overloaded: set[int] = field(default_factory=set)

    def note(self, one: Health) -> None:
        """Take over how one worker fared in one second."""
        self.cpu = max(self.cpu, one.cpu)
        self.lag_us = max(self.lag_us, lag_of(one))
        self.descriptors = max(self.descriptors, one.descriptors)
        self.memory[one.worker] = one.rss
        if {"lag", "cpu"}.intersection(marks_of([one])):
            self.overloaded.add(one.second)

    def merge(self, later: "NodeFigures") -> None:
        """Take over what was noted later."""
        self.cpu = max(self.cpu, later.cpu)
        self.lag_us = max(self.lag_us, later.lag_us)
        self.descriptors = max(self.descriptors, later.descriptors)
        self.memory |= later.memory
        self.overloaded |= later.overloaded


@dataclass(slots=True)
class Levels:
    """Gauges in one second, summed over the nodes whose part is in them."""

    nodes: set[str] = field(default_factory=set)
    sums: dict[str, float] = field(default_factory=dict)

    def merge(self, other: "Levels") -> None:
        """Add the levels of other nodes."""
        self.nodes |= other.nodes
        for name, value in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value


@dataclass(slots=True)
class Interval:
    """What was measured from `start` on; `changed` since its points were last taken."""

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
        """The levels of the last second that most nodes told of: others lack a part."""
        if not self.levels:
            return {}
        last = max(self.levels, key=lambda second: (len(self.levels[second].nodes), second))
        return self.levels[last].sums

    def note_users(self, users: UserCounts, second: int) -> None:
        """Take over how many users there are at `second`, if none is known of a later one."""
        if second >= self.users_second:
            self.users_second, self.users = second, users

    def merge(self, later: "Interval") -> None:
        """Add what was measured in the same interval and reported later."""
        for name, operation in later.operations.items():
            _of(self.operations, name, IntervalOperation).merge(operation)
        for name, value in later.counters.items():
            self.counters[name] = self.counters.get(name, 0) + value
        for name, histogram in later.histograms.items():
            _of(self.histograms, name, Histogram).merge(histogram)
        for second, levels in later.levels.items():
            _of(self.levels, second, Levels).merge(levels)
        for name, node in later.nodes.items():
            _of(self.nodes, name, NodeFigures).merge(node)
        self.note_users(later.users, later.users_second)
        self.started += later.started
        self.iterations += later.iterations
        self.failed += later.failed


class Intervals:
    """Takes in seconds as they are reported; `due` returns those that are complete.

    With `keeps`, `unkept` returns what came in since `kept` was called.
    """

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.keeps = False
        self._kept: dict[int, Interval] = {}
        self._unkept: dict[int, Interval] = {}
        self._closed_before = 0
        self._names: dict[str, dict[str, str]] = {}

    def begin_run(self) -> None:
        """Say nothing more of names that only earlier runs have."""
        self._names.clear()

    def know(self, kind: str, names: Iterable[str]) -> None:
        """Have these names of a run that goes on be known, in the order in which they were seen."""
        for name in names:
            self._name(kind, name)

    def adopt(self, interval: Interval, *, changed: bool) -> None:
        """Go on with an interval that an earlier master left; `changed` where it is to be sent."""
        interval.changed = changed
        self._prune(interval.start)
        self._kept[interval.start] = interval

    def close(self, before: int) -> None:
        """Have what is reported of seconds earlier than `before` count in the next interval."""
        self._closed_before = max(self._closed_before, before - before % -self.seconds)

    @property
    def begin(self) -> int:
        """The start of the earliest interval that can still change."""
        return min(self._kept, default=self._closed_before)

    def oldest_changed(self) -> int | None:
        """Return the start of the earliest interval whose points are to be taken."""
        return min((start for start, one in self._kept.items() if one.changed), default=None)

    def unkept(self) -> list[Interval]:
        """Return the parts of intervals that came in since `kept` was last called, in order."""
        return [self._unkept[start] for start in sorted(self._unkept)]

    def all(self) -> list[Interval]:
        """Return the intervals that can still change, and what is not stored of earlier ones."""
        found = self._unkept | self._kept
        return [found[start] for start in sorted(found)]

    def kept(self) -> None:
        """Note that they are stored."""
        self._unkept.clear()

    def add(
        self, second: int, snapshot: Snapshot, health: Sequence[Health], users: UserCounts
    ) -> None:
        """Take over what some nodes measured in `second`; `users` are all there are."""
        interval = self._interval(second - second % self.seconds)
        for part in self._parts(interval):
            self._count(part, snapshot)
            part.note_users(users, second)
            for one in health:
                _of(part.nodes, self._name("nodes", one.node), NodeFigures).note(one)
            self._note_levels(part, second, snapshot, health)
        for later in self._kept.values():
            if interval.start <= later.start < interval.start + ONE_S:
                later.changed = True  # whose `one` counts this interval too

    def note_users(self, users: UserCounts, second: int) -> None:
        """Take over how many users there are at `second`, when their run is over."""
        interval = self._interval(second - second % self.seconds)
        for part in self._parts(interval):
            part.users_second, part.users = second, users
        interval.changed = True

    def due(self, through: float) -> list[Interval]:
        """Return the intervals that ended by `through` and are new or changed, in order."""
        found = [
            self._kept[start]
            for start in sorted(self._kept)
            if self._kept[start].changed and start + self.seconds <= through
        ]
        for interval in found:
            interval.changed = False
        return found

    def names(self, kind: str) -> list[str]:
        """Return what is ever seen of a kind is called: what was idle is so too."""
        known = self._names.get(kind, {})
        found = dict.fromkeys(known.values())
        return list(found | {component(OTHER): None} if len(known) >= NAMES_MAX else found)

    def last_minute(self, interval: Interval, counter: str) -> int:
        """Return what `counter` counted in the minute up to the interval's end."""
        first = interval.start + self.seconds - max(ONE_S, self.seconds)
        return sum(
            one.counters.get(counter, 0)
            for start, one in self._kept.items()
            if first <= start <= interval.start
        )

    def _interval(self, start: int) -> Interval:
        """Return the interval that takes what belongs to `start`, and close those long past."""
        keep_from = self._prune(start)
        if start < keep_from and start not in self._kept:
            start = min(self._kept, default=keep_from - keep_from % -self.seconds)
        return self._kept.setdefault(start, Interval(start))

    def _parts(self, interval: Interval) -> list[Interval]:
        """Return what takes in a report: the interval, and the part of it that is to be stored.

        While it cannot be stored for long, the earliest parts are given up.
        """
        if not self.keeps:
            return [interval]
        part = self._unkept.setdefault(interval.start, Interval(interval.start))
        if len(self._unkept) > UNKEPT_MAX:
            del self._unkept[min(self._unkept)]
        return [interval, part]

    def _prune(self, start: int) -> int:
        """Close the intervals that are long past once `start` is there; return which are open."""
        newest = max(self._kept, default=start)
        keep_from = max(self._closed_before, max(newest, start) - max(KEPT_S, self.seconds))
        for old in [
            kept for kept in self._kept if kept < keep_from and not self._kept[kept].changed
        ]:
            del self._kept[old]
        return keep_from

    def _count(self, interval: Interval, snapshot: Snapshot) -> None:
        for name, one in snapshot.operations.items():
            path = self._name("operations", name)
            _of(interval.operations, path, IntervalOperation).merge(one)
        for name, (_, histogram) in snapshot.histograms.items():
            _of(interval.histograms, self._name("histograms", name), Histogram).merge(histogram)
        for name, value in snapshot.counters.items():
            path = self._name("counters", name)
            interval.counters[path] = interval.counters.get(path, 0) + value
        interval.started += snapshot.started
        interval.iterations += snapshot.iterations
        interval.failed += snapshot.failed

    def _note_levels(
        self, interval: Interval, second: int, snapshot: Snapshot, health: Sequence[Health]
    ) -> None:
        """Add up a second's levels: each node tells of it once, or with others."""
        if not snapshot.gauges:
            return
        found = _of(interval.levels, second, Levels)
        found.nodes.update(one.node for one in health)
        for name, gauge in snapshot.gauges.items():
            path = self._name("gauges", name)
            found.sums[path] = found.sums.get(path, 0.0) + gauge.value

    def _name(self, kind: str, name: str) -> str:
        """Return what `name` is called in Graphite, one of so many of its kind."""
        known = self._names.setdefault(kind, {})
        found = known.get(name)
        if found is None:
            if len(known) >= NAMES_MAX:
                return component(OTHER)
            found = known[name] = component(name)
        return found


def _of(found: dict[K, T], key: K, make: Callable[[], T]) -> T:
    if key not in found:
        found[key] = make()
    return found[key]
