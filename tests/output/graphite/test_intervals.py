"""Intervals: figures of exactly their seconds, whenever reported; sums equal the totals."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.core.measure.results import Results
from amoc_gevent.core.measure.snapshot import Gauge, Snapshot
from amoc_gevent.core.messages import Health, UserCounts
from amoc_gevent.output.graphite.intervals import NAMES_MAX, OPEN_S, UNSTORED_MAX, Intervals
from amoc_gevent.output.graphite.points import Point, points_of
from tests.output.runs import health, measured

START = 1000
NOBODY = UserCounts()


def taken(intervals: Intervals, through: float = float("inf")) -> dict[tuple[str, int], float]:
    """What Graphite would hold: the last value of each path and time."""
    points: list[Point] = []
    for interval in intervals.due(through):
        points += points_of(interval, intervals)
    return {(p.path, p.time): p.value for p in points}


def node_health(node: str, second: int, **changes: float) -> Health:
    one = health(second, **changes)
    return Health(node, *(getattr(one, name) for name in Health.__slots__[1:]))


def test_an_interval_has_the_figures_of_exactly_its_seconds() -> None:
    intervals = Intervals(10)
    for second in range(1000, 1020):
        intervals.add(second, measured({"a": [second]}, {"a": {"refused": 1}}), [], NOBODY)

    found = taken(intervals)
    assert found["amoc.operations.a.count", 1000] == found["amoc.operations.a.count", 1010] == 10
    assert found["amoc.operations.a.rate", 1000] == 1.0
    assert found["amoc.operations.a.errors", 1010] == 10
    assert (found["amoc.operations.a.min", 1000], found["amoc.operations.a.max", 1000]) == (
        1000,
        1009,
    )
    assert found["amoc.operations.a.median", 1000] == 1004
    assert found["amoc.operations.a.mean", 1000] == 1004.5
    assert [found[f"amoc.operations.a.{p}", 1000] for p in (95, 99, 999)] == [1009] * 3


def test_an_interval_is_due_once_and_again_when_a_late_report_changes_it() -> None:
    intervals = Intervals(10)
    intervals.add(1005, measured({"a": [10]}), [], NOBODY)

    assert taken(intervals, 1009) == {}
    assert taken(intervals, 1010)["amoc.operations.a.count", 1000] == 1
    assert taken(intervals, 1010) == {}
    intervals.add(1009, measured({"a": [10, 20]}), [], NOBODY)
    assert taken(intervals, 1010)["amoc.operations.a.count", 1000] == 3


def test_a_report_that_comes_later_than_intervals_are_kept_counts_in_the_oldest() -> None:
    intervals = Intervals(10)
    for second in (1000, 1010, 1010 + OPEN_S + 10):
        intervals.add(second, measured({"a": [1]}), [], NOBODY)
        taken(intervals)
    intervals.add(1300, measured({"a": [1]}), [], NOBODY)
    taken(intervals)

    intervals.add(1003, measured({"a": [1, 1]}), [], NOBODY)
    found = taken(intervals)

    counts = {time: v for (path, time), v in found.items() if path == "amoc.operations.a.count"}
    assert 1000 not in counts
    assert counts[min(counts)] == 3


def test_what_came_in_is_told_once_in_bounds_until_it_is_stored() -> None:
    intervals, end = Intervals(10), 1000 + 10 * (UNSTORED_MAX + 50)
    intervals.stores = True
    for second in range(1000, end, 10):
        intervals.add(second, measured({"a": [1]}), [], NOBODY)
        taken(intervals)
    assert [one.start for one in intervals.unstored()] == [*range(1500, end, 10)]

    intervals.mark_stored()
    for name in "ab":
        intervals.add(end - 1, measured({name: [1]}), [], NOBODY)
    (part,) = intervals.unstored()
    assert {name: one.count for name, one in part.operations.items()} == {"a": 1, "b": 1}
    assert taken(intervals)["amoc.operations.a.count", end - 10] == 2


def test_a_counter_has_its_count_and_that_of_the_last_minute() -> None:
    intervals = Intervals(10)
    for second in range(1000, 1090, 10):
        intervals.add(second, Snapshot(counters={"hits": 2}), [], NOBODY)

    found = taken(intervals)
    assert [found["amoc.counters.hits.count", t] for t in (1000, 1050, 1080)] == [2, 2, 2]
    assert [found["amoc.counters.hits.one", t] for t in (1000, 1050, 1080)] == [2, 12, 12]


def test_what_is_idle_is_at_zero_and_has_no_latency() -> None:
    intervals = Intervals(10)
    intervals.add(1000, measured({"a": [1]}), [], NOBODY)
    intervals.add(1010, Snapshot(), [], NOBODY)

    found = taken(intervals)
    assert found["amoc.operations.a.count", 1010] == 0
    assert ("amoc.operations.a.median", 1010) not in found


def test_names_that_become_the_same_are_counted_together() -> None:
    intervals = Intervals(10)
    intervals.add(1000, measured({"GET /a": [1], "GET .a": [2, 3]}), [], NOBODY)
    assert taken(intervals)["amoc.operations.GET_a.count", 1000] == 3


def test_names_beyond_the_limit_are_counted_as_one() -> None:
    intervals = Intervals(10)
    for number in range(NAMES_MAX + 7):
        intervals.add(1000, measured({f"n{number}": [1]}), [], NOBODY)

    found = taken(intervals)
    assert found["amoc.operations.other.count", 1000] == 7
    assert sum(v for (path, _), v in found.items() if path.endswith(".count")) == NAMES_MAX + 7


def test_a_gauge_is_the_sum_of_the_nodes_levels_in_the_last_whole_second() -> None:
    intervals = Intervals(10)

    def level(second: int, value: float, *nodes: str) -> None:
        snapshot = Snapshot(gauges={"depth": Gauge(value)})
        intervals.add(second, snapshot, [node_health(node, second) for node in nodes], NOBODY)

    level(1001, 5 + 70, "one", "two")
    level(1002, 6, "one")
    level(1002, 71, "two")
    level(1003, 800, "one")  # two has not told of this second
    assert taken(intervals)["amoc.gauges.depth", 1000] == 77


def test_a_level_that_is_no_number_is_no_point() -> None:
    intervals = Intervals(10)
    intervals.add(1001, Snapshot(gauges={"depth": Gauge(float("nan"))}), [], NOBODY)
    assert ("amoc.gauges.depth", 1000) not in taken(intervals)


def test_users_are_those_of_the_latest_second() -> None:
    intervals = Intervals(10)
    intervals.add(1002, Snapshot(started=3), [], UserCounts(1, 2, 3, 4))
    intervals.add(1001, Snapshot(started=2), [], UserCounts(9, 9, 9, 9))

    found = taken(intervals)
    states = ("waiting", "running", "resting", "done", "size", "started")
    assert [found[f"amoc.users.{state}", 1000] for state in states] == [1, 2, 3, 4, 5, 5]


def test_a_nodes_health_is_the_worst_of_its_workers_and_their_memory() -> None:
    intervals = Intervals(10)
    one = [
        node_health("n.1", 1001, worker=0, cpu=0.2, timer_lag_us=70_000),
        node_health("n.1", 1001, worker=1, cpu=0.5, descriptors=99),
        node_health("n.1", 1002, worker=1, cpu=0.4, rss=60_000_000),
    ]
    intervals.add(1001, Snapshot(), one, NOBODY)

    found = taken(intervals)
    names = ("cpu", "lag", "memory", "descriptors", "workers", "overloaded")
    assert [found[f"amoc.nodes.n_1.{name}", 1000] for name in names] == [
        0.5, 70_000, 110_000_000, 99, 2, 1,
    ]  # fmt: skip


def test_a_run_that_is_watched_late_tells_of_its_open_seconds() -> None:
    results, intervals = Results(), Intervals(10)
    results.add(1000, measured({"a": [1]}), [], NOBODY)
    results.watch(intervals.add)
    results.add(1000, measured({"a": [1]}), [], NOBODY)
    assert taken(intervals)["amoc.operations.a.count", 1000] == results.total.operations["a"].count


@pytest.mark.parametrize("seconds", [1, 7, 10, 60])
@given(
    reports=st.lists(
        st.tuples(
            st.integers(START, START + 400),
            st.lists(st.integers(0, 10**6), max_size=3),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_whatever_the_order_of_reports_sums_and_extremes_are_those_of_the_totals(
    seconds: int, reports: list[tuple[int, list[int], bool]]
) -> None:
    results, intervals = Results(), Intervals(seconds)
    results.watch(intervals.add)
    graphite: dict[tuple[str, int], float] = {}
    for second, latencies, sent in reports:
        snapshot = measured({"a": latencies})
        snapshot.counters["hits"] = len(latencies)
        results.add(second, snapshot, [], NOBODY)
        if sent:
            graphite |= taken(intervals)
    graphite |= taken(intervals)

    series: dict[str, list[float]] = defaultdict(list)
    for (path, time), value in graphite.items():
        assert time % seconds == 0
        series[path].append(value)
    operation = results.total.operations.get("a")
    if operation is not None:
        assert sum(series["amoc.operations.a.count"]) == operation.count
        assert max(series["amoc.operations.a.max"], default=0) == operation.latency.max
        assert min(series["amoc.operations.a.min"], default=0) == operation.latency.min
    total = results.total.counters.get("hits", 0)
    assert sum(series["amoc.counters.hits.count"]) == total
