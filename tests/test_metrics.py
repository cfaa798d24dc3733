"""Metrics of scenarios and their snapshots."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from gevent import GreenletExit

from amoc_gevent import metrics
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import Report, decode_report, encode
from amoc_gevent.errors import UsageError


@pytest.fixture(autouse=True)
def _a_fresh_recorder() -> Iterator[None]:
    metrics.recorder.reset()
    yield
    metrics.recorder.reset()


def test_a_counter_sums_what_was_added_since_the_last_snapshot() -> None:
    counter = metrics.counter("test_sold")
    counter.add()
    counter.add(4)
    assert metrics.recorder.take().counters == {"test_sold": 5}
    counter.add(2)
    assert metrics.recorder.take().counters == {"test_sold": 2}


def test_a_counter_cannot_decrease() -> None:
    with pytest.raises(UsageError, match="use a gauge"):
        metrics.counter("test_sold").add(-1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**70])
def test_a_counter_accepts_only_finite_numbers(value: float) -> None:
    with pytest.raises(UsageError, match="cannot add"):
        metrics.counter("test_sold").add(value)  # type: ignore[arg-type]  # as a scenario might
    assert metrics.recorder.take().counters == {}


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_gauge_accepts_only_finite_numbers(value: float) -> None:
    with pytest.raises(UsageError, match="finite"):
        metrics.gauge("test_level", "users").set(value)
    assert metrics.recorder.take().gauges == {}


def test_a_gauge_keeps_its_level_over_snapshots() -> None:
    gauge = metrics.gauge("test_level", "users")
    gauge.set(10)
    gauge.add(-3)
    for _ in range(2):
        taken = metrics.recorder.take().gauges["test_level"]
        assert (taken.value, taken.unit) == (7, "users")


def test_a_snapshot_does_not_change_when_the_gauge_does() -> None:
    gauge = metrics.gauge("test_level", "users")
    gauge.set(1)
    taken = metrics.recorder.take()
    gauge.set(2)
    assert taken.gauges["test_level"].value == 1


def test_a_histogram_records_rounded_values_with_its_unit() -> None:
    metrics.histogram("test_size", "bytes").record(2.6)
    unit, histogram = metrics.recorder.take().histograms["test_size"]
    assert (unit, dict(histogram.buckets)) == ("bytes", {3: 1})


def test_the_same_name_gives_the_same_metric() -> None:
    assert metrics.counter("test_same") is metrics.counter("test_same")


def test_one_name_cannot_be_two_kinds_of_metric() -> None:
    metrics.counter("test_kind")
    with pytest.raises(UsageError, match="'test_kind' is already a Counter"):
        metrics.gauge("test_kind")


def test_one_metric_cannot_have_two_units() -> None:
    metrics.histogram("test_unit", "us")
    with pytest.raises(UsageError, match="'test_unit' already has unit us"):
        metrics.histogram("test_unit", "ms")


def test_an_operation_is_counted_and_timed() -> None:
    with metrics.operation("test search"):
        pass
    operation = metrics.recorder.take().operations["test search"]
    assert (operation.count, operation.errors, operation.latency.count) == (1, 0, 1)


def test_an_operation_may_fail_with_a_reason() -> None:
    with metrics.operation("test search") as op:
        op.fail("sold out")
    operation = metrics.recorder.take().operations["test search"]
    assert (operation.count, operation.error_groups) == (1, {"sold out": 1})


def test_an_exception_is_counted_and_not_suppressed() -> None:
    with pytest.raises(KeyError), metrics.operation("test search"):
        raise KeyError("x")
    assert metrics.recorder.take().operations["test search"].error_groups == {"KeyError": 1}


def test_an_operation_ended_by_a_forced_stop_is_only_counted_as_interrupted() -> None:
    with pytest.raises(GreenletExit), metrics.operation("test search"):
        raise GreenletExit
    operation = metrics.recorder.take().operations["test search"]
    assert (operation.count, operation.errors, operation.interrupted) == (0, 0, 1)
    assert operation.latency.count == 0


def test_a_first_byte_is_recorded_if_there_is_one() -> None:
    metrics.recorder.operation("GET /", 1000, first_byte_us=0)
    metrics.recorder.operation("GET /", 1000)
    operation = metrics.recorder.take().operations["GET /"]
    assert operation.phases["first_byte"].count == 1
    assert operation.latency.count == 2


def test_a_phase_and_the_lag_are_histograms_of_microseconds() -> None:
    metrics.recorder.phase("GET /", "connect", 120)
    metrics.recorder.lag(30)
    taken = metrics.recorder.take()
    assert dict(taken.operations["GET /"].phases["connect"].buckets) == {120: 1}
    assert dict(taken.lag.buckets) == {30: 1}


def test_taking_a_snapshot_starts_an_empty_one() -> None:
    metrics.recorder.operation("GET /", 5)
    first = metrics.recorder.take()
    second = metrics.recorder.take()
    assert first.operations["GET /"].count == 1
    assert second.operations == {}


def travelled() -> Snapshot:
    """Return the recorded snapshot as the node decodes it."""
    seconds = ((1, metrics.recorder.take()),)
    report = Report("1", "i", 1, "r", "ready", seconds=seconds)
    return decode_report(encode(report)).seconds[0][1]


def test_names_and_kinds_that_are_not_strings_become_strings() -> None:
    for _ in range(2):
        with metrics.operation(7) as op:  # type: ignore[arg-type]  # as a scenario might
            op.fail(404)  # type: ignore[arg-type]
    metrics.recorder.operation("GET /", 1, 503)  # type: ignore[arg-type]
    found = travelled().operations
    assert (found["7"].count, found["7"].error_groups) == (2, {"404": 2})
    assert found["GET /"].error_groups == {"503": 1}


def test_a_name_that_utf8_cannot_encode_is_escaped() -> None:
    with metrics.operation("x\udc80"):
        pass
    assert travelled().operations["x\\udc80"].count == 1


@pytest.mark.parametrize("value", [1.5, None, "1", Decimal(1)])
def test_a_counter_accepts_only_integers(value: object) -> None:
    with pytest.raises(UsageError, match=r"cannot add .*: it takes integers"):
        metrics.counter("test_sold").add(value)  # type: ignore[arg-type]  # as a scenario might
    assert metrics.recorder.take().counters == {}


@pytest.mark.parametrize(("value", "level"), [(True, 1.0), (Decimal("1.5"), 1.5)])
def test_a_gauge_accepts_any_type_of_number(value: float, level: float) -> None:
    metrics.gauge("test_level", "users").set(value)
    assert travelled().gauges["test_level"].value == level


def test_a_histogram_clamps_values_that_are_too_high() -> None:
    metrics.histogram("test_size", "bytes").record(1e30)
    _, histogram = travelled().histograms["test_size"]
    assert (histogram.count, histogram.max) == (1, pytest.approx(2**63, rel=1e-3))
