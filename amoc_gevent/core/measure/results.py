"""The results of one run: totals, a row for each second, and events."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from amoc_gevent.core.measure.rows import Row, operation_rows
from amoc_gevent.core.measure.snapshot import Gauge, Operation, Snapshot
from amoc_gevent.core.messages import Event, Health, UserCounts

LAG_LIMIT_US = 50_000
CPU_LIMIT = 0.90
OPEN_SECONDS = 10
NO_USERS = UserCounts()
CLOCK_STEP_LIMIT_S = 0.001
LONGEST_GAP_S = 3600
"""A longer gap gets no rows, because then the machine was asleep."""


@dataclass(slots=True)
class GaugeRange:
    """The last, lowest and highest level of a gauge over a run."""

    last: float
    min: float
    max: float
    unit: str


@dataclass(frozen=True, slots=True)
class Recent:
    """The measurements of the last `seconds` seconds. `count` is for all operations.

    `operations` has the requested ones. `gauges` are the latest.
    """

    seconds: float
    count: int
    operations: Mapping[str, Operation]
    gauges: Mapping[str, Gauge]


Observer = Callable[[int, Snapshot, Sequence[Health], UserCounts], None]
"""Called with each report: its second, snapshot, health, and all users at its end."""


@dataclass(slots=True)
class _OpenSecond:
    """A second that may still get reports."""

    snapshot: Snapshot
    health: list[Health] = field(default_factory=list)
    users: UserCounts = NO_USERS


@dataclass(frozen=True, slots=True)
class ResultsState:
    """The results of a run without its rows, to restore `Results` from."""

    total: Snapshot
    gauges: dict[str, GaugeRange]
    health: tuple[Health, ...]
    peak: int
    late_reports: int
    worst: dict[str, int]
    stalls: tuple[tuple[int, int], ...]
    closed_before: int
    open: tuple[tuple[int, Snapshot, tuple[Health, ...], UserCounts], ...]


def lag_of(one: Health) -> int:
    """Return a worker's lag in µs, from its timer only if a clock step falsified arrival times."""
    if _stepped(one):
        return one.timer_lag_us
    return max(one.timer_lag_us, one.pickup_lag_us)


def _stepped(one: Health) -> bool:
    return abs(one.clock_step_s) > CLOCK_STEP_LIMIT_S


def marks_of(health: Iterable[Health]) -> tuple[str, ...]:
    """Return the generator's problems: lag above 50 ms, CPU above 90 %, a clock step."""
    found = set()
    for one in health:
        if lag_of(one) > LAG_LIMIT_US:
            found.add("lag")
        if one.cpu > CPU_LIMIT:
            found.add("cpu")
        if _stepped(one):
            found.add("clock")
    return tuple(sorted(found))


class Results:
    """All measurements of a run. Each second stays open for ten seconds, to merge late reports.

    Each second between the first and the last report has a row, which is empty if nothing arrived.
    The first `stored_rows` rows are in the run store as rows. The others can be rebuilt from the
    rest.
    """

    def __init__(self) -> None:
        self.total = Snapshot()
        self.rows: list[Row] = []
        self.stored_rows = 0
        self.gauges: dict[str, GaugeRange] = {}
        self.health: dict[tuple[str, int], Health] = {}
        self.events: list[Event] = []
        self.peak = 0
        self.late_reports = 0
        self.worst = {"rss": 0, "descriptors": 0}
        self._open: dict[int, _OpenSecond] = {}
        self._collected: dict[int, _OpenSecond] = {}
        self._stalls: list[range] = []
        self._closed_before = 0
        self._observers: list[Observer] = []

    @property
    def operations(self) -> int:
        """The total count of all operations."""
        return sum(operation.count for operation in self.total.operations.values())

    def state(self) -> ResultsState:
        """Return the results without rows. They share mutable data, so encode them at once."""
        return ResultsState(
            self.total,
            self.gauges,
            tuple(self.health.values()),
            self.peak,
            self.late_reports,
            self.worst,
            tuple((stall.start, stall.stop) for stall in self._stalls),
            self._closed_before,
            tuple(
                (second, found.snapshot, tuple(found.health), found.users)
                for second, found in sorted(self._open.items())
            ),
        )

    def restore(self, state: ResultsState, rows: Iterable[Row]) -> None:
        """Restore a stored state, with all rows that belong to it."""
        self.total, self.gauges, self.worst = state.total, state.gauges, state.worst
        self.health = {(one.node, one.worker): one for one in state.health}
        self.peak, self.late_reports = state.peak, state.late_reports
        self._stalls = [range(start, stop) for start, stop in state.stalls]
        self._closed_before = state.closed_before
        self._open = {
            second: _OpenSecond(snapshot, [*health], users)
            for second, snapshot, health, users in state.open
        }
        self.rows = [*rows]

    def watch(self, observer: Observer, *, from_now: bool = False) -> None:
        """Call `observer` for each open second, then for each report.

        The observer must not keep the snapshot, because others are merged into it. With `from_now`,
        skip the open seconds.
        """
        for second, found in () if from_now else self._open.items():
            observer(second, found.snapshot, found.health, found.users)
        self._observers.append(observer)

    def unwatch(self, observer: Observer) -> None:
        """Stop calling `observer`."""
        if observer in self._observers:
            self._observers.remove(observer)

    def collect(
        self, second: int, snapshot: Snapshot, health: Iterable[Health], users: UserCounts
    ) -> None:
        """Collect a node's part of `second`. It counts once `merge_collected` has added it."""
        found = self._collected.get(second)
        if found is None:
            found = self._collected[second] = _OpenSecond(snapshot)
        else:
            found.snapshot.merge(snapshot)
        found.health.extend(health)
        found.users = users

    def merge_collected(
        self, before: Callable[[int, Snapshot, list[Health], UserCounts], None]
    ) -> None:
        """Add the collected parts, each second once for all nodes.

        Call `before` first with the same arguments as `add`, so that they can be stored.
        """
        while self._collected:
            second = min(self._collected)
            found = self._collected.pop(second)
            before(second, found.snapshot, found.health, found.users)
            self.add(second, found.snapshot, found.health, found.users)

    def add(
        self, second: int, snapshot: Snapshot, health: Sequence[Health], users: UserCounts
    ) -> None:
        """Add measurements of `second`. `users` counts all users at its end.

        Measurements of a closed second count in the totals, but not in its row.
        """
        for observer in (*self._observers,):  # an observer that fails removes itself
            observer(second, snapshot, health, users)
        levels, snapshot.gauges = snapshot.gauges, {}
        self.total.merge(snapshot)
        snapshot.gauges, snapshot.flows = levels, {}
        for one in health:
            if one.silent:
                self.health.setdefault((one.node, one.worker), one)
                continue
            self.health[one.node, one.worker] = one
            for name in self.worst:
                self.worst[name] = max(self.worst[name], getattr(one, name))
            if one.timer_lag_us >= 1_000_000:
                self._stalls.append(range(second, second + 1 + one.timer_lag_us // 1_000_000))
        self.peak = max(self.peak, snapshot.peak, users.present)
        if second < self._closed_before:
            self.late_reports += 1
            return
        found = self._open.get(second)
        if found is None:
            found = self._open[second] = _OpenSecond(snapshot)
        else:
            found.snapshot.merge(snapshot)
            self.peak = max(self.peak, found.snapshot.peak)
        found.health.extend(health)
        found.users = users
        self.close(second - OPEN_SECONDS)

    def close(self, before: int) -> None:
        """Turn the seconds before `before` into rows."""
        for second in sorted(s for s in self._open if s < before):
            self._fill_gap(second)
            self.rows.append(self._row(second, self._open.pop(second)))
        self._closed_before = max(self._closed_before, before)

    def _fill_gap(self, second: int) -> None:
        """Add empty rows for the seconds without reports since the last row."""
        if not self.rows or second - self.rows[-1].second > LONGEST_GAP_S:
            return
        users = self.rows[-1].users
        for silent in range(self.rows[-1].second + 1, second):
            self.rows.append(self._row(silent, _OpenSecond(Snapshot(), users=users)))

    def close_all(self) -> None:
        """Turn all seconds into rows, at the end of the run."""
        self.close(max(self._open, default=0) + 1)

    @property
    def newest(self) -> int:
        """The latest reported second, 0 if there is none."""
        return max((*self._open, *(row.second for row in self.rows[-1:])), default=0)

    def second_of_last(self, iterations: int) -> int | None:
        """Return the second in which the last `iterations` iterations began to end.

        None if fewer have ended.
        """
        newest_first = sorted(self._open, reverse=True)
        counts = chain(
            ((second, self._open[second].snapshot.iterations) for second in newest_first),
            ((row.second, row.iterations) for row in reversed(self.rows)),
        )
        for second, ended in counts:
            iterations -= ended
            if iterations <= 0:
                return second
        return None

    def recent(
        self,
        since: float = 0.0,
        names: Collection[str] | None = None,
        seconds: int = OPEN_SECONDS,
    ) -> Recent:
        """Return the measurements of the last `seconds` seconds, at most 10.

        `since` is the start of the run: earlier seconds are left out, and the second of the start
        counts in part. `names` are the operations to return, None for all.
        """
        latest = self._latest(since, seconds)
        if not latest:
            return Recent(0.0, 0, {}, {})
        count = 0
        merged: dict[str, Operation] = {}
        for second in latest:
            operations = self._open[second].snapshot.operations
            count += sum(operation.count for operation in operations.values())
            for name in operations if names is None else operations.keys() & set(names):
                merged.setdefault(name, Operation()).merge(operations[name])
        end = latest[-1] + 1
        covered = end - max(since, end - seconds, latest[0])
        return Recent(covered, count, merged, self._open[latest[-1]].snapshot.gauges)

    def recent_marks(self, since: float = 0.0) -> tuple[str, ...]:
        """Return the generator's problems in the last ten seconds, from `since` on."""
        latest = self._latest(since, OPEN_SECONDS)
        return marks_of(one for second in latest for one in self._open[second].health)

    def _latest(self, since: float, seconds: int) -> list[int]:
        """Return the open seconds among the last `seconds`, ascending."""
        first = max(int(since), max(self._open, default=0) + 1 - seconds)
        return sorted(second for second in self._open if second >= first)

    def _note_gauges(self, found: _OpenSecond) -> None:
        """Update gauges from a second, if all nodes reported it; else the sums lack a part.

        The report of a node covers all its workers, including silent ones.
        """
        complete = {one.node for one in found.health} >= {node for node, _ in self.health}
        for name, gauge in found.snapshot.gauges.items():
            level, known = gauge.value, self.gauges.get(name)
            if known is None:
                self.gauges[name] = GaugeRange(level, level, level, gauge.unit)
            elif complete:
                known.last = level
                known.min, known.max = min(known.min, level), max(known.max, level)

    def _row(self, second: int, found: _OpenSecond) -> Row:
        self._note_gauges(found)
        snapshot = found.snapshot
        health = found.health
        marks = set(marks_of(health))
        if any(second in stall for stall in self._stalls):
            marks.add("lag")  # a stalled worker reported only the first second of the stall
        return Row(
            second=second,
            users=found.users,
            started=snapshot.started,
            iterations=snapshot.iterations,
            failed=snapshot.failed,
            operations=operation_rows(snapshot.operations),
            counters=dict(snapshot.counters),
            gauges={name: gauge.value for name, gauge in snapshot.gauges.items()},
            cpu=max((one.cpu for one in health), default=0.0),
            lag_us=max((lag_of(one) for one in health), default=0),
            marks=tuple(sorted(marks)),
        )
