"""Snapshots: the operations, counters, gauges, histograms and errors of a period.

A worker fills one snapshot for each second. Node and master merge them. Figures are not changed in
any other way before the summary.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from amoc_gevent.core.measure.deliveries import Flow
from amoc_gevent.core.measure.histogram import Histogram, PackedHistogram

ERROR_GROUPS_MAX = 100
OPERATIONS_MAX = 10_000
OTHER = "(other)"

OperationRows = dict[str, list[Any]]
"""The operations in a message, by name; see `PackedSnapshot` for the row format."""


class Operation:
    """One named operation: how often it finished, failed or was interrupted, and its latency.

    `latency` is in µs; `phases` has µs histograms of its parts (connect, tls, first_byte). `count`
    includes errors but not interrupted operations.
    """

    __slots__ = ("count", "error_groups", "errors", "interrupted", "latency", "phases")
    histogram: ClassVar[type[Histogram]] = Histogram

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.interrupted = 0
        self.latency = self.histogram()
        self.phases: dict[str, Histogram] = {}
        self.error_groups: dict[str, int] = {}

    def phase(self, name: str) -> Histogram:
        """Return the histogram of one phase, created if needed."""
        found = self.phases.get(name)
        if found is None:
            found = self.phases[name] = self.histogram()
        return found

    def fail(self, kind: str, times: int = 1) -> None:
        """Count `times` errors of `kind`. Kinds beyond the limit are counted together."""
        self.errors += times
        groups = self.error_groups
        if kind not in groups:
            kind = str(kind)  # a scenario may pass a number, such as a status
            if kind not in groups and len(groups) >= ERROR_GROUPS_MAX:
                kind = OTHER
        groups[kind] = groups.get(kind, 0) + times

    def merge(self, other: "Operation") -> None:
        """Add the figures of `other`."""
        self.count += other.count
        self.interrupted += other.interrupted
        self.latency.merge(other.latency)
        for name, histogram in other.phases.items():
            self.phase(name).merge(histogram)
        for kind, times in other.error_groups.items():
            self.fail(kind, times)


class PackedOperation(Operation):
    """An operation from messages. Its histograms stay packed until they are read."""

    __slots__ = ()
    histogram = PackedHistogram


@dataclass(slots=True)
class UserError:
    """One group of exceptions raised in `start`, with the same type and place.

    `first` and `last` are seconds since 1970; `place` is "file:line". `detail` is one traceback.
    """

    type: str
    place: str
    message: str
    detail: str
    count: int
    first: float
    last: float

    def merge(self, other: "UserError") -> None:
        """Add the occurrences of `other`. Keep the traceback of this group."""
        self.count += other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)


@dataclass(slots=True)
class Gauge:
    """The last value of a gauge, and its unit. Merging adds the values of workers."""

    value: float
    unit: str = ""


@dataclass(slots=True)
class Snapshot:
    """All measurements of a period.

    `peak` is the highest number of users running or resting at once, on one worker in one second.
    Merged over workers it is an upper bound of their common peak. `flows` counts the messages of
    each pair of users, keyed by "sender recipient epoch".
    """

    operations: dict[str, Operation] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    gauges: dict[str, Gauge] = field(default_factory=dict)
    histograms: dict[str, tuple[str, Histogram]] = field(default_factory=dict)
    errors: dict[tuple[str, str], UserError] = field(default_factory=dict)
    flows: dict[str, Flow] = field(default_factory=dict)
    lag: Histogram = field(default_factory=Histogram)
    started: int = 0
    iterations: int = 0
    failed: int = 0
    peak: int = 0
    kind: ClassVar[type[Operation]] = Operation

    def operation(self, name: str) -> Operation:
        """Return the operation `name`, created if needed; `(other)` beyond 10,000 names.

        Each name costs memory in every process, so paths with ids should get a `name=`.
        """
        found = self.operations.get(name)
        if found is None:
            if not isinstance(name, str):  # a scenario may pass a number, which messages refuse
                return self.operation(str(name))
            if len(self.operations) >= OPERATIONS_MAX and name != OTHER:
                return self.operation(OTHER)
            found = self.operations[name] = self.kind()
        return found

    def add_error(self, error: UserError) -> None:
        """Add one user error to its group. Groups beyond the limit are counted together."""
        key = (error.type, error.place)
        if key not in self.errors and len(self.errors) >= ERROR_GROUPS_MAX:
            error.type, error.place = key = (OTHER, "")
        known = self.errors.get(key)
        if known is None:
            self.errors[key] = error
        else:
            known.merge(error)

    def merge(self, other: "Snapshot") -> None:
        """Add all figures of `other`. Gauges of the same name are added too."""
        self._merge_operations(other)
        for name, value in other.counters.items():
            self.counters[name] = self.counters.get(name, 0) + value
        for name, gauge in other.gauges.items():
            known = self.gauges.get(name)
            self.gauges[name] = Gauge(gauge.value + (known.value if known else 0), gauge.unit)
        for name, (unit, histogram) in other.histograms.items():
            if name not in self.histograms:
                self.histograms[name] = (unit, Histogram())
            self.histograms[name][1].merge(histogram)
        for error in other.errors.values():
            self.add_error(UserError(**{f: getattr(error, f) for f in UserError.__slots__}))
        for key, flow in other.flows.items():
            if key not in self.flows:
                self.flows[key] = Flow()
            self.flows[key].merge(flow)
        self.lag.merge(other.lag)
        self.started += other.started
        self.iterations += other.iterations
        self.failed += other.failed
        self.peak += other.peak

    def _merge_operations(self, other: "Snapshot") -> None:
        for name, operation in other.operations.items():
            self.operation(name).merge(operation)


class PackedSnapshot(Snapshot):
    """A snapshot from a message. It creates its operations only when they are read.

    Until then each operation is a row: count, interrupted, latency, phases and error groups, with
    histograms packed or decoded. Rows can be merged into another such snapshot. The constructor
    takes rows, so `copy` and `replace`, which would pass operations, do not work.
    """

    __slots__ = ("_made", "_rows")
    kind = PackedOperation
    _made: dict[str, Operation]
    _rows: OperationRows

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations by name. The setter takes the rows of a message instead."""
        rows, self._rows = self._rows, {}
        if rows:
            self._take(rows)
        return self._made

    @operations.setter
    def operations(self, rows: Any) -> None:
        self._made, self._rows = {}, rows

    def _take(self, rows: OperationRows) -> None:
        made = self._made
        for name, (count, interrupted, latency, phases, error_groups) in rows.items():
            operation = made.get(name)
            if operation is None:
                operation = self.operation(name)
            operation.count += count
            operation.interrupted += interrupted
            _add(operation.latency, latency)
            for phase, histogram in phases.items():
                _add(operation.phase(phase), histogram)
            for kind, times in error_groups.items():
                operation.fail(kind, times)

    def _merge_operations(self, other: Snapshot) -> None:
        if not isinstance(other, PackedSnapshot) or other._made:
            super()._merge_operations(other)
            return
        self._take(other._rows)


def _add(histogram: Histogram, more: bytes | Histogram) -> None:
    if isinstance(more, bytes):
        histogram.add(more)
    else:
        histogram.merge(more)
