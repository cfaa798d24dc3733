"""Snapshots: merging loses nothing, is independent of order, and keeps groups bounded."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.core.codec import decode, encode
from amoc_gevent.core.measure import snapshot as snapshot_module
from amoc_gevent.core.measure.snapshot import (
    ERROR_GROUPS_MAX,
    OPERATIONS_MAX,
    OTHER,
    Gauge,
    Operation,
    Snapshot,
    UserError,
)


def facts(snapshot: Snapshot) -> dict[str, object]:
    """Return what a snapshot says as plain data that compares by value."""
    return {
        "operations": {
            name: (
                operation.count,
                operation.errors,
                operation.interrupted,
                dict(operation.latency.buckets),
                {phase: dict(h.buckets) for phase, h in operation.phases.items()},
                operation.error_groups,
            )
            for name, operation in snapshot.operations.items()
        },
        "counters": snapshot.counters,
        "gauges": {name: (gauge.value, gauge.unit) for name, gauge in snapshot.gauges.items()},
        "histograms": {n: (unit, dict(h.buckets)) for n, (unit, h) in snapshot.histograms.items()},
        "errors": {key: (e.count, e.first, e.last) for key, e in snapshot.errors.items()},
        "lag": dict(snapshot.lag.buckets),
        "sums": (snapshot.started, snapshot.iterations, snapshot.failed),
    }


NAMES = st.sampled_from(["GET /", "POST /cart", "checkout"])


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    snapshot = Snapshot(started=draw(st.integers(0, 9)), failed=draw(st.integers(0, 9)))
    for name, latency in draw(st.lists(st.tuples(NAMES, st.integers(0, 10**6)), max_size=6)):
        operation = snapshot.operation(name)
        operation.count += 1
        operation.latency.record(latency)
        operation.phase("first_byte").record(latency // 2)
        if latency % 3 == 0:
            operation.fail(f"status {500 + latency % 4}")
        snapshot.lag.record(latency)
    for name in draw(st.lists(NAMES, max_size=3)):
        snapshot.counters[name] = snapshot.counters.get(name, 0) + 1
        snapshot.gauges[name] = Gauge(draw(st.integers(0, 100)), "users")
        when = draw(st.integers(0, 100))
        snapshot.add_error(UserError("ValueError", name, "text", "trace", 1, when, when))
    return snapshot


@given(snapshots(), snapshots(), snapshots())
def test_merging_gives_the_same_in_whatever_groups_and_order(
    a: Snapshot, b: Snapshot, c: Snapshot
) -> None:
    left = copy.deepcopy(a)
    left.merge(b)
    left.merge(c)
    right = copy.deepcopy(c)
    inner = copy.deepcopy(b)
    inner.merge(a)
    right.merge(inner)
    assert facts(left) == facts(right)


@given(snapshots(), snapshots())
def test_merging_leaves_the_merged_one_as_it_was_and_shares_nothing(
    a: Snapshot, b: Snapshot
) -> None:
    before = facts(copy.deepcopy(b))
    total = Snapshot()
    total.merge(b)
    total.merge(a)
    total.merge(b)
    assert facts(b) == before


def as_read(snapshot: Snapshot, *, looked_at: bool = False) -> Snapshot:
    """Return a snapshot as a message brings it, perhaps after somebody has seen its operations."""
    found = decode(Snapshot, encode(snapshot))
    if looked_at:
        assert found.operations.keys() == snapshot.operations.keys()
    return found


WAYS = st.sampled_from(["plain", "read", "looked at"])


@given(st.lists(st.tuples(snapshots(), WAYS, st.booleans()), min_size=1, max_size=5))
def test_decoded_snapshots_merge_like_measured_ones(
    parts: list[tuple[Snapshot, str, bool]],
) -> None:
    expected, found = Snapshot(), as_read(Snapshot())
    for snapshot, way, is_large in parts:
        if is_large:  # counts that are not packed in 16 bits
            snapshot.operation("GET /").latency.buckets[7] += 1 << 16
        expected.merge(snapshot)
        part = snapshot if way == "plain" else as_read(snapshot, looked_at=way == "looked at")
        before = facts(as_read(snapshot))
        found.merge(part)
        assert facts(part) == before
    assert facts(found) == facts(expected)
    assert facts(as_read(found)) == facts(expected)


def test_decoded_operations_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    total = as_read(Snapshot())
    monkeypatch.setattr(snapshot_module, "OPERATIONS_MAX", 3)
    for part in range(3):
        one = Snapshot()
        for number in range(2):
            one.operation(f"GET /{part}.{number}").count = 1
        total.merge(as_read(one))
    assert {name: one.count for name, one in total.operations.items()} == {
        "GET /0.0": 1,
        "GET /0.1": 1,
        "GET /1.0": 1,
        OTHER: 3,
    }


def test_error_kinds_of_an_operation_are_bounded_and_none_is_lost() -> None:
    operation = Operation()
    for kind in range(250):
        operation.fail(f"kind {kind}")
        operation.fail("kind 0")
    assert len(operation.error_groups) == ERROR_GROUPS_MAX + 1
    assert operation.errors == sum(operation.error_groups.values()) == 500
    assert operation.error_groups["kind 0"] == 251
    assert operation.error_groups[OTHER] == 150


def test_error_kinds_stay_bounded_when_operations_merge() -> None:
    total = Operation()
    for part in range(4):
        other = Operation()
        for kind in range(90):
            other.fail(f"kind {part}.{kind}")
        total.merge(other)
    assert len(total.error_groups) == ERROR_GROUPS_MAX + 1
    assert total.errors == sum(total.error_groups.values()) == 360


def test_user_errors_are_bounded_and_none_is_lost() -> None:
    snapshot = Snapshot()
    for line in range(250):
        snapshot.add_error(UserError("ValueError", f"a.py:{line}", "text", "trace", 2, line, line))
    assert len(snapshot.errors) == ERROR_GROUPS_MAX + 1
    assert sum(error.count for error in snapshot.errors.values()) == 500
    rest = snapshot.errors[OTHER, ""]
    assert (rest.count, rest.first, rest.last) == (300, 100, 249)


def test_user_errors_stay_bounded_when_snapshots_merge() -> None:
    total = Snapshot()
    for part in range(3):
        other = Snapshot()
        for line in range(ERROR_GROUPS_MAX + 20):
            other.add_error(UserError("ValueError", f"{part}.py:{line}", "", "", 1, line, line))
        total.merge(other)
    assert len(total.errors) == ERROR_GROUPS_MAX + 1
    assert sum(error.count for error in total.errors.values()) == 3 * (ERROR_GROUPS_MAX + 20)


def test_a_group_of_user_errors_keeps_its_first_traceback_and_its_whole_time() -> None:
    snapshot = Snapshot()
    snapshot.add_error(UserError("KeyError", "a.py:3", "'x'", "the first", 1, 20.0, 20.0))
    snapshot.add_error(UserError("KeyError", "a.py:3", "'y'", "the second", 1, 10.0, 10.0))
    (error,) = snapshot.errors.values()
    assert (error.count, error.first, error.last) == (2, 10.0, 20.0)
    assert error.detail == "the first"


def test_errors_of_one_type_at_two_places_are_two_groups() -> None:
    snapshot = Snapshot()
    for place in ("a.py:3", "a.py:4"):
        snapshot.add_error(UserError("KeyError", place, "", "", 1, 0.0, 0.0))
    assert len(snapshot.errors) == 2


def test_gauges_of_two_workers_add_up() -> None:
    total, other = Snapshot(), Snapshot()
    total.gauges["open"] = Gauge(3, "sockets")
    other.gauges["open"] = Gauge(4, "sockets")
    total.merge(other)
    assert total.gauges["open"] == Gauge(7, "sockets")


@pytest.mark.parametrize("field", ["started", "iterations", "failed"])
def test_every_sum_is_merged(field: str) -> None:
    total, other = Snapshot(), Snapshot()
    setattr(total, field, 2)
    setattr(other, field, 3)
    total.merge(other)
    assert getattr(total, field) == 5


def test_operation_names_beyond_the_limit_are_counted_together() -> None:
    snapshot = Snapshot()
    for number in range(OPERATIONS_MAX + 5):
        snapshot.operation(f"GET /{number}").count += 1

    assert len(snapshot.operations) == OPERATIONS_MAX + 1
    assert snapshot.operations[OTHER].count == 5
    assert sum(operation.count for operation in snapshot.operations.values()) == OPERATIONS_MAX + 5
