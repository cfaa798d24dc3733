"""The results of one run: totals, a row for each second, and what is remarkable about either."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from amoc_gevent.core.messages import Event, Health, UserCounts
from amoc_gevent.core.snapshot import Snapshot

LAG_LIMIT_US = 50_000
CPU_LIMIT = 0.90
OPEN_SECONDS = 10
NOBODY = UserCounts()
CLOCK_STEP_LIMIT_S = 0.001


@dataclass(frozen=True, slots=True)
class OperationRow:
    """One operation in one second; percentiles and maximum in µs."""

    count: int
    errors: int
    interrupted: int
    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Row:
    """One second of a run; `second` is in seconds since 1970.

    `marks` says what was wrong with the generator in it: lag, cpu, clock.
    """

    second: int
    users: UserCounts
    started: int
    iterations: int
    failed: int
    operations: Mapping[str, OperationRow]
    counters: Mapping[str, int]
    gauges: Mapping[str, float]
    cpu: float
    lag_us: int
    marks: tuple[str, ...]


@dataclass(slots=True)
class GaugeRange:
    """The last, lowest and highest level of a gauge over a run."""

    last: float
    min: float
    max: float
    unit: str


@dataclass(slots=True)
class _OpenSecond:
    """A second that may still get reports."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    health: list[Health] = field(default_factory=list)
    users: UserCounts = NOBODY


def marks_of(health: Iterable[Health]) -> tuple[str, ...]:
    """Return what was wrong with the generator: lag above 50 ms, CPU above 90 %, a clock step."""
    found = set()
    for one in health:
        if max(one.timer_lag_us, one.pickup_lag_us) > LAG_LIMIT_US:
            found.add("lag")
        if one.cpu > CPU_LIMIT:
            found.add("cpu")
        if abs(one.clock_step_s) > CLOCK_STEP_LIMIT_S:
            found.add("clock")
    return tuple(sorted(found))


class Results:
    """All that was measured in a run. Seconds stay open for ten seconds for reports to merge."""

    def __init__(self) -> None:
        self.total = Snapshot()
        self.rows: list[Row] = []
        self.gauges: dict[str, GaugeRange] = {}
        self.health: dict[tuple[str, int], Health] = {}
        self.events: list[Event] = []
        self.peak = 0
        self.late_reports = 0
        self.worst = {"rss": 0, "descriptors": 0}
        self._open: dict[int, _OpenSecond] = {}
        self._closed_before = 0

    def add(
        self, second: int, snapshot: Snapshot, health: Sequence[Health], users: UserCounts
    ) -> None:
        """Merge what a node measured in `second`; `users` are all there are at its end.

        A report for a second that is already closed counts in the totals, not in its row.
        """
        levels, snapshot.gauges = snapshot.gauges, {}
        self.total.merge(snapshot)
        snapshot.gauges = levels
        for one in health:
            self.health[one.node, one.worker] = one
            for name in self.worst:
                self.worst[name] = max(self.worst[name], getattr(one, name))
        self.peak = max(self.peak, users.present)
        if second < self._closed_before:
            self.late_reports += 1
            return
        found = self._open.setdefault(second, _OpenSecond())
        found.snapshot.merge(snapshot)
        found.health.extend(health)
        found.users = users
        self.close(second - OPEN_SECONDS)

    def close(self, before: int) -> None:
        """Turn the seconds earlier than `before` into rows."""
        for second in sorted(s for s in self._open if s < before):
            self.rows.append(self._row(second, self._open.pop(second)))
        self._closed_before = max(self._closed_before, before)

    def close_all(self) -> None:
        """Turn all seconds into rows, at the end of the run."""
        self.close(max(self._open, default=0) + 1)

    def recent(self, since: float = 0.0, seconds: int = OPEN_SECONDS) -> tuple[Snapshot, float]:
        """Return what was measured in the last whole `seconds` (10 at most), and in how long (s).

        `since` is when the run began: what was reported before it is left out, and the second in
        which it lies counts in part.
        """
        latest = self._latest(since, seconds)
        merged = Snapshot()
        for second in latest:
            merged.merge(self._open[second].snapshot)
        if not latest:
            return merged, 0.0
        merged.gauges = self._open[latest[-1]].snapshot.gauges
        end = latest[-1] + 1
        return merged, end - max(since, end - seconds, latest[0])

    def recent_marks(self, since: float = 0.0) -> tuple[str, ...]:
        """Return what was wrong with the generator in the last ten seconds, from `since` on."""
        latest = self._latest(since, OPEN_SECONDS)
        return marks_of(one for second in latest for one in self._open[second].health)

    def _latest(self, since: float, seconds: int) -> list[int]:
        """Return the open seconds, ascending, that are among the last `seconds`."""
        first = max(int(since), max(self._open, default=0) + 1 - seconds)
        return sorted(second for second in self._open if second >= first)

    def _row(self, second: int, found: _OpenSecond) -> Row:
        snapshot = found.snapshot
        for name, gauge in snapshot.gauges.items():
            level, known = gauge.value, self.gauges.get(name)
            if known is None:
                self.gauges[name] = GaugeRange(level, level, level, gauge.unit)
            else:
                known.last = level
                known.min, known.max = min(known.min, level), max(known.max, level)
        operations = {}
        for name, operation in snapshot.operations.items():
            p50, p95, p99 = operation.latency.percentiles((0.5, 0.95, 0.99))
            operations[name] = OperationRow(
                operation.count,
                operation.errors,
                operation.interrupted,
                p50,
                p95,
                p99,
                operation.latency.max,
            )
        health = found.health
        return Row(
            second=second,
            users=found.users,
            started=snapshot.started,
            iterations=snapshot.iterations,
            failed=snapshot.failed,
            operations=operations,
            counters=dict(snapshot.counters),
            gauges={name: gauge.value for name, gauge in snapshot.gauges.items()},
            cpu=max((one.cpu for one in health), default=0.0),
            lag_us=max((max(h.timer_lag_us, h.pickup_lag_us) for h in health), default=0),
            marks=marks_of(health),
        )
