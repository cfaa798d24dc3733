"""The table of operations in the live table and the closing report."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rich.text import Text

from amoc_gevent.core.measure.snapshot import Operation
from amoc_gevent.core.units import format_count
from amoc_gevent.output.terminal.grid import Cell, grid

HEADER = ("operation", "rate/s", "count", "errors", "p50 ms", "p95 ms", "p99 ms", "max ms")
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class OperationLine:
    """One line of the table: totals, and the rate and latencies of a period.

    `measured` has the latencies; it is None for a sum.
    """

    name: str
    count: int
    errors: int
    rate: float
    measured: Operation | None = None


def sum_line(name: str, operations: Collection[Operation], rate: float) -> OperationLine:
    """Return the sum of `operations`, without latencies."""
    count = sum(operation.count for operation in operations)
    errors = sum(operation.errors for operation in operations)
    return OperationLine(name, count, errors, rate)


def milliseconds(us: float) -> str:
    """Return `us` in milliseconds with three digits: "0.035", "12.3", "1,240"."""
    ms = us / 1000
    for limit, decimals in ((0.9995, 3), (9.995, 2), (99.95, 1)):
        if ms < limit:
            return f"{ms:.{decimals}f}"
    return f"{ms:,.0f}"


def operations_table(lines: Iterable[OperationLine], width: int) -> list[Text]:
    """Return the table with its header, at most `width` cells wide."""
    rows = [_cells(line) for line in lines]
    header: list[Cell] = [(title, "dim") for title in HEADER]
    return grid([header, *rows], width) if rows else []


def _cells(line: OperationLine) -> list[Cell]:
    measured = line.measured
    if measured is None:
        figures = [""] * 4
    elif measured.latency.count:
        latency = measured.latency
        figures = [milliseconds(us) for us in (*latency.percentiles(QUANTILES), latency.max)]
    else:
        figures = ["-"] * 4
    return [
        (line.name, ""),
        (format_count(round(line.rate, 2)), "bold"),
        (format_count(line.count), ""),
        (format_count(line.errors), "bold red" if line.errors else "dim"),
        *((figure, "") for figure in figures),
    ]
