"""What was measured in a stretch of time: operations, counters, gauges, histograms and errors.

A worker fills one for each second; node and master merge them, and nothing else is done to a figure
on its way to the summary.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from amoc_gevent.core.measure.deliveries import Flow
from amoc_gevent.core.measure.histogram import Histogram, PackedHistogram

ERROR_GROUPS_MAX = 100
OPERATIONS_MAX = 10_000
OTHER = "(other)"

OperationRows = dict[str, list[Any]]
"""Operations as a message has them, by name: see `PackedSnapshot`."""


class Operation:
    """One named operation: how often it finished, failed or was cut, and how long it took.

    `latency` is in µs; `phases` holds µs histograms of its parts (connect, tls, first_byte).
    `count` includes the errors, not the interrupted.
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
        """Return the histogram of one part, made when it is new."""
        found = self.phases.get(name)
        if found is None:
            found = self.phases[name] = self.histogram()
        return found

    def fail(self, kind: str, times: int = 1) -> None:
        """Count `times` errors of `kind`; kinds beyond the limit are counted together."""
        self.errors += times
        groups = self.error_groups
        if kind not in groups:
            kind = str(kind)  # a scenario may give a status, say, as a number
            if kind not in groups and len(groups) >= ERROR_GROUPS_MAX:
                kind = OTHER
        groups[kind] = groups.get(kind, 0) + times

    def merge(self, other: "Operation") -> None:
        """Add all of `other` to this one."""
        self.count += other.count
        self.interrupted += other.interrupted
        self.latency.merge(other.latency)
        for name, histogram in other.phases.items():
            self.phase(name).merge(histogram)
        for kind, times in other.error_groups.items():
            self.fail(kind, times)


class PackedOperation(Operation):
    """An operation of messages, whose histograms stay packed until they are asked for."""

    __slots__ = ()
    histogram = PackedHistogram


@dataclass(slots=True)
class UserError:
    """One group of exceptions that left `start`: same type, same place.

    `first` and `last` are seconds since 1970; `place` is "file:line"; `detail` one traceback.
    """

    type: str
    place: str
    message: str
    detail: str
    count: int
    first: float
    last: float

    def merge(self, other: "UserError") -> None:
        """Add `other`'s occurrences, keeping this group's traceback."""
        self.count += other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)


@dataclass(slots=True)
class Gauge:
    """A level: its last value (each worker has its own; merged, they add up) and its unit."""

    value: float
    unit: str = ""


@dataclass(slots=True)
class Snapshot:
    """All that was measured in a stretch of time; merging two adds one to the other.

    `peak` is the most users that were running or resting at once, of one worker in one second;
    merged over workers it is at least that of all of them. `flows` are the messages of each pair of
    users, under "sender recipient epoch".
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
        """Return the operation of this name, made when it is new; beyond 10,000 names, `(other)`.

        Each name costs memory in every part of the tool: paths with ids in them want a `name=`.
        """
        found = self.operations.get(name)
        if found is None:
            if not isinstance(name, str):  # a scenario may give a number, which no message takes
                return self.operation(str(name))
            if len(self.operations) >= OPERATIONS_MAX and name != OTHER:
                return self.operation(OTHER)
            found = self.operations[name] = self.kind()
        return found

    def add_error(self, error: UserError) -> None:
        """Group one user error; groups beyond the limit are counted together."""
        key = (error.type, error.place)
        if key not in self.errors and len(self.errors) >= ERROR_GROUPS_MAX:
            error.type, error.place = key = (OTHER, "")
        known = self.errors.get(key)
        if known is None:
            self.errors[key] = error
        else:
            known.merge(error)

    def merge(self, other: "Snapshot") -> None:
        """Add all of `other`; gauges of the same name add up."""
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
    """A snapshot as a message brought it: its operations are made only where they are asked for.

    Until then each is a row, from which it can be merged into another such snapshot as well: count,
    interrupted, latency, phases and error groups, with histograms packed or read. It is made from
    such rows, and so it can be neither copied nor replaced from its own operations.
    """

    __slots__ = ("_made", "_rows")
    kind = PackedOperation
    _made: dict[str, Operation]
    _rows: OperationRows

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations by name. What is assigned are the rows of a message."""
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
