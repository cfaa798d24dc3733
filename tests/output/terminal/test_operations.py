"""How the table of operations writes its figures."""

import pytest

from amoc_gevent.core.measure.snapshot import Operation
from amoc_gevent.output.terminal.operations import (
    OperationLine,
    milliseconds,
    operations_table,
    sum_line,
)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0.000"),
        (35, "0.035"),
        (999, "0.999"),
        (999.5, "1.00"),
        (1240, "1.24"),
        (9994, "9.99"),
        (9995, "10.0"),
        (12_340, "12.3"),
        (99_960, "100"),
        (1_240_000, "1,240"),
        (3_600_000_000, "3,600,000"),
    ],
)
def test_milliseconds_have_three_digits_or_the_microsecond(us: float, text: str) -> None:
    assert milliseconds(us) == text


def test_a_sum_adds_counts_and_errors_and_has_no_latencies() -> None:
    first, second = Operation(), Operation()
    first.count, first.errors, second.count = 10, 2, 5
    first.latency.record(1000)
    line = sum_line("all", [first, second], 7.5)
    assert (line.count, line.errors, line.rate, line.measured) == (15, 2, 7.5, None)
    assert operations_table([line], 80)[1].plain.split() == ["all", "7.50", "15", "2"]


def test_errors_stand_out_and_their_absence_does_not() -> None:
    lines = [OperationLine("a", 5, 1, 0.0), OperationLine("b", 5, 0, 0.0)]
    _, bad, good = operations_table(lines, 80)
    assert "bold red" in [str(span.style) for span in bad.spans]
    assert "bold red" not in [str(span.style) for span in good.spans]


def test_without_operations_there_is_no_table() -> None:
    assert operations_table([], 80) == []
