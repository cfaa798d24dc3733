"""The row of one second of a run, and those of its operations."""

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nlargest

from amoc_gevent.core.measure.snapshot import OTHER, Operation
from amoc_gevent.core.messages import UserCounts

ROW_OPERATIONS_MAX = 100


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


def operation_rows(operations: Mapping[str, Operation]) -> dict[str, OperationRow]:
    """Return a row for each of the busiest operations, and one for all others together."""
    return {name: _operation_row(one) for name, one in _busiest(operations).items()}


def _busiest(operations: Mapping[str, Operation]) -> Mapping[str, Operation]:
    """Return the operations that get a row of their own, the others together as `(other)`.

    Totals keep every name; a row for each of thousands of names and each second would fill memory.
    """
    if len(operations) <= ROW_OPERATIONS_MAX:
        return operations
    names = nlargest(ROW_OPERATIONS_MAX, operations, key=lambda name: operations[name].count)
    kept = {name: operations[name] for name in names}
    others = Operation()
    for name in operations.keys() - kept.keys():
        others.merge(operations[name])
    if OTHER in kept:
        others.merge(kept[OTHER])
    return {**kept, OTHER: others}


def _operation_row(operation: Operation) -> OperationRow:
    p50, p95, p99 = operation.latency.percentiles((0.5, 0.95, 0.99))
    return OperationRow(
        operation.count,
        operation.errors,
        operation.interrupted,
        p50,
        p95,
        p99,
        operation.latency.max,
    )
