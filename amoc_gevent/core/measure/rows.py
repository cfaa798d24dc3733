"""The row of one second of a run, and its rows for each operation."""

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
    """One second of a run. `second` is in seconds since 1970.

    `marks` are the generator's problems in that second: lag, cpu, clock.
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
    """Return the busiest operations, and the others merged into `(other)`.

    Totals keep every name, but rows for thousands of names in each second would fill the memory.
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
