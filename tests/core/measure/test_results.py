"""Results: closing of seconds, late reports, marks, gauges and gaps."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from amoc_gevent.core.measure.results import LONGEST_GAP_S, Results, marks_of
from amoc_gevent.core.measure.rows import ROW_OPERATIONS_MAX
from amoc_gevent.core.measure.snapshot import OTHER, Gauge, Snapshot
from amoc_gevent.core.messages import Health, UserCounts

USERS = UserCounts(running=2, resting=3)


def health(second: int = 0, worker: int = 0, **changes: float) -> Health:
    values: dict[str, float] = {
        "pid": 1, "cpu": 0.1, "timer_lag_us": 0, "pickup_lag_us": 0, "rss": 10, "descriptors": 5,
        "descriptor_limit": 100,
    }  # fmt: skip
    return Health("local", worker, second, **{**values, **changes})  # type: ignore[arg-type]


def counting(count: int, latency_us: int = 1000) -> Snapshot:
    snapshot = Snapshot()
    operation = snapshot.operation("a")
    for _ in range(count):
        operation.count += 1
        operation.latency.record(latency_us)
    return snapshot


def level(value: float) -> Snapshot:
    return Snapshot(gauges={"depth": Gauge(value, "m")})


def add(results: Results, second: int, snapshot: Snapshot, one: Sequence[Health] = ()) -> None:
    results.add(second, snapshot, one, USERS)


def test_reports_for_one_second_merge_into_one_row() -> None:
    results = Results()
    add(results, 100, counting(3, 1000))
    add(results, 100, counting(1, 9000))
    results.close_all()
    (row,) = results.rows
    assert row.operations["a"].count == 4
    assert row.operations["a"].p50 == 1000
    assert row.operations["a"].max == pytest.approx(9000, rel=0.001)
    assert results.total.operations["a"].count == 4


def test_a_second_closes_ten_seconds_later() -> None:
    results = Results()
    for second in range(100, 111):
        add(results, second, counting(1))
    assert results.rows == []
    add(results, 111, counting(1))
    assert [row.second for row in results.rows] == [100]


def test_a_report_for_a_closed_second_counts_in_the_totals_only() -> None:
    results = Results()
    add(results, 100, counting(1))
    add(results, 120, counting(1))
    add(results, 100, counting(5))
    results.close_all()
    assert results.total.operations["a"].count == 7
    assert sum(row.operations["a"].count for row in results.rows if row.operations) == 2
    assert results.late_reports == 1


def test_a_report_does_not_change_the_totals_after_it_was_added() -> None:
    results = Results()
    add(results, 100, counting(1))
    add(results, 100, counting(2))
    assert results.total.operations["a"].count == 3
    assert results.total.operations["a"].latency.count == 3


def test_seconds_without_a_report_have_empty_rows() -> None:
    results = Results()
    add(results, 100, counting(1))
    add(results, 103, counting(1))
    results.close_all()
    assert [row.second for row in results.rows] == [100, 101, 102, 103]
    assert [len(row.operations) for row in results.rows] == [1, 0, 0, 1]
    assert results.rows[1].users == USERS


def test_a_long_silence_is_not_filled_with_rows() -> None:
    results = Results()
    add(results, 100, counting(1))
    add(results, 102 + LONGEST_GAP_S, counting(1))
    results.close_all()
    assert len(results.rows) == 2


@pytest.mark.parametrize(
    ("changes", "marks"),
    [
        ({}, ()),
        ({"timer_lag_us": 50_000, "cpu": 0.9, "clock_step_s": 0.001}, ()),  # at the limit is fine
        ({"timer_lag_us": 50_001}, ("lag",)),
        ({"pickup_lag_us": 50_001}, ("lag",)),
        ({"cpu": 0.91}, ("cpu",)),
        ({"clock_step_s": -0.002}, ("clock",)),
        ({"clock_step_s": 3600.0, "pickup_lag_us": 3_600_000_000}, ("clock",)),  # no lag of ours
        ({"cpu": 1.0, "timer_lag_us": 60_000, "clock_step_s": 1.0}, ("clock", "cpu", "lag")),
    ],
)
def test_marks_name_the_problems_of_a_second(
    changes: dict[str, float], marks: tuple[str, ...]
) -> None:
    assert marks_of([health(**changes)]) == marks


def test_one_bad_worker_marks_the_second() -> None:
    results = Results()
    add(results, 100, Snapshot(), [health(100), health(100, worker=1, cpu=0.99)])
    results.close_all()
    assert results.rows[0].marks == ("cpu",)
    assert results.rows[0].cpu == 0.99


def test_a_stalled_worker_marks_all_seconds_that_it_missed() -> None:
    results = Results()
    add(results, 100, Snapshot(), [health(100, timer_lag_us=2_400_000)])
    for second in range(101, 104):
        add(results, second, Snapshot(), [health(second, worker=1)])
    results.close_all()
    assert [row.marks for row in results.rows] == [("lag",), ("lag",), ("lag",), ()]


def test_a_silent_worker_marks_each_second_and_stays_as_it_was() -> None:
    results = Results()
    add(results, 100, Snapshot(), [health(100), health(100, worker=1, cpu=0.5)])
    for second in range(101, 104):
        silent = health(second, worker=1, timer_lag_us=(second - 100) * 1_000_000, silent=True)
        add(results, second, Snapshot(), [health(second), silent])
    add(results, 104, Snapshot(), [health(104)])
    results.close_all()
    assert [row.marks for row in results.rows] == [(), ("lag",), ("lag",), ("lag",), ()]
    assert results.rows[3].lag_us == 3_000_000
    last = results.health[health().node, 1]
    assert (last.second, last.cpu) == (100, 0.5)


def test_a_worker_that_was_silent_from_the_first_is_known() -> None:
    results = Results()
    for second in (100, 101):
        add(results, second, Snapshot(), [health(second, silent=True)])
    assert results.health[health().node, 0].second == 100


def test_a_pickup_lag_caused_by_a_clock_step_is_no_stall() -> None:
    results = Results()
    stepped = health(100, pickup_lag_us=3_600_000_000, clock_step_s=3600.0)
    add(results, 100, Snapshot(), [stepped])
    add(results, 101, Snapshot(), [health(101)])
    results.close_all()
    assert [row.marks for row in results.rows] == [("clock",), ()]
    assert results.rows[0].lag_us == 0


def test_a_gauge_keeps_its_last_lowest_and_highest_level() -> None:
    results = Results()
    for second, value in enumerate((5.0, 1.0, 9.0, 4.0), start=100):
        add(results, second, level(value), [health(second)])
    results.close_all()
    found = results.gauges["depth"]
    assert (found.last, found.min, found.max, found.unit) == (4.0, 1.0, 9.0, "m")
    assert "depth" not in results.total.gauges


def test_gauges_of_several_reports_add_up_within_a_second() -> None:
    results = Results()
    add(results, 100, level(2.0), [health(100)])
    add(results, 100, level(3.0), [health(100, worker=1)])
    results.close_all()
    assert results.rows[0].gauges == {"depth": 5.0}
    assert results.gauges["depth"].max == 5.0


def test_a_second_in_which_a_node_is_missing_does_not_lower_a_gauge() -> None:
    results = Results()
    add(results, 100, level(10.0), [health(100), replace(health(100), node="other")])
    add(results, 101, level(6.0), [health(101)])
    results.close_all()
    assert (results.gauges["depth"].last, results.gauges["depth"].min) == (10.0, 10.0)


def test_users_that_came_and_went_within_a_second_count_in_its_peak() -> None:
    results = Results()
    for second, peaks in ((1, (3, 4)), (2, (5, 1))):
        for peak in peaks:
            results.add(second, Snapshot(peak=peak), [], UserCounts(done=9))
    assert results.peak == 7


def test_a_gauge_keeps_its_last_level_if_a_worker_ends_before_the_others() -> None:
    results = Results()
    add(results, 100, level(10.0), [health(100), health(100, worker=1)])
    add(results, 101, level(12.0), [health(101)])
    results.close_all()
    assert results.gauges["depth"].last == 12.0


def test_the_peak_is_the_highest_number_of_users_present() -> None:
    results = Results()
    for second, users in enumerate((UserCounts(waiting=9), USERS, UserCounts(done=9))):
        results.add(100 + second, Snapshot(), [], users)
    assert results.peak == 5


def test_worst_figures_and_the_last_health_of_each_worker_are_kept() -> None:
    results = Results()
    add(results, 100, Snapshot(), [health(100, rss=70, descriptors=9), health(100, worker=1)])
    add(results, 101, Snapshot(), [health(101, rss=30, descriptors=3)])
    assert results.worst == {"rss": 70, "descriptors": 9}
    assert results.health["local", 0].rss == 30
    assert results.health["local", 1].second == 100


def test_recent_is_the_last_ten_whole_seconds() -> None:
    results = Results()
    for second in range(100, 125):
        add(results, second, counting(second))
    recent = results.recent(since=100.0)
    assert recent.seconds == 10
    assert recent.count == sum(range(115, 125))
    assert recent.operations["a"].latency.count == recent.count


def test_recent_counts_the_second_in_which_the_run_began_in_part() -> None:
    results = Results()
    add(results, 99, counting(50))
    add(results, 100, counting(3))
    add(results, 101, counting(12))
    recent = results.recent(since=100.75)
    assert (recent.count, recent.seconds) == (15, 1.25)


def test_recent_merges_only_the_operations_asked_for() -> None:
    results = Results()
    for second in (100, 101):
        snapshot = counting(2)
        snapshot.operation("b").count = 7
        add(results, second, snapshot)
    recent = results.recent(names=["b", "unknown"])
    assert {name: one.count for name, one in recent.operations.items()} == {"b": 14}
    assert recent.count == 18


def test_recent_leaves_the_open_seconds_as_they_are() -> None:
    results = Results()
    add(results, 100, counting(2))
    results.recent()
    results.recent()
    results.close_all()
    assert results.rows[0].operations["a"].count == 2


def test_recent_gauges_are_those_of_the_last_second() -> None:
    results = Results()
    add(results, 100, level(1.0))
    add(results, 101, level(2.0))
    assert results.recent().gauges["depth"].value == 2.0


def test_without_reports_nothing_is_recent() -> None:
    recent = Results().recent(since=100.0)
    assert (recent.count, recent.seconds, recent.operations) == (0, 0.0, {})
    assert Results().recent_marks() == ()


def test_recent_marks_leave_out_what_was_before_the_run() -> None:
    results = Results()
    add(results, 99, Snapshot(), [health(99, cpu=1.0)])
    add(results, 100, Snapshot(), [health(100)])
    assert results.recent_marks(since=100.2) == ()
    assert results.recent_marks(since=99.5) == ("cpu",)


def test_a_row_has_the_busiest_operations_and_the_others_together() -> None:
    results = Results()
    snapshot = Snapshot()
    for number in range(ROW_OPERATIONS_MAX + 50):
        operation = snapshot.operation(f"GET /{number}")
        operation.count = number + 1
        operation.latency.record(number)
    results.add(1, snapshot, [], UserCounts())
    results.close_all()

    operations = results.rows[0].operations
    assert len(operations) == ROW_OPERATIONS_MAX + 1
    assert operations["GET /149"].count == 150
    assert "GET /49" not in operations
    assert operations[OTHER].count == sum(range(1, 51))
    assert operations[OTHER].max == 49
    assert len(results.total.operations) == ROW_OPERATIONS_MAX + 50
