"""A node's seconds: every measurement counts once, and levels stay until they change."""

from amoc_gevent.core.measure.node_seconds import OpenSeconds, Second
from amoc_gevent.core.measure.snapshot import Gauge, Snapshot
from amoc_gevent.core.messages import Health


def health(worker: int, second: int) -> tuple[Health, ...]:
    return (Health("a", worker, second, 1, 0.0, 0, 0, 0, 0, 0),)


def measured(count: int = 0, level: float | None = None) -> Snapshot:
    gauges = {"open": Gauge(level, "carts")} if level is not None else {}
    return Snapshot(counters={"orders": count}, gauges=gauges, iterations=count)


def levels(seconds: list[Second]) -> list[float | None]:
    gauges = [found.snapshot.gauges.get("open") for found in seconds]
    return [gauge.value if gauge else None for gauge in gauges]


def test_a_second_is_the_sum_of_what_all_workers_reported_of_it() -> None:
    seconds = OpenSeconds()
    seconds.add(0, 5, measured(3, 1.0), health(0, 5))
    seconds.add(1, 5, measured(4, 2.0), health(1, 5))
    (found,) = seconds.take(5)
    assert (found.second, found.snapshot.counters, found.snapshot.iterations) == (
        5,
        {"orders": 7},
        7,
    )
    assert found.snapshot.gauges["open"] == Gauge(3.0, "carts")
    assert [one.worker for one in found.health] == [0, 1]


def test_each_second_is_taken_once_in_order_and_not_before_it_is_asked_for() -> None:
    seconds = OpenSeconds()
    for second in (7, 5, 6):
        seconds.add(0, second, measured(1), health(0, second))
    assert seconds.oldest == 5
    assert [found.second for found in seconds.take(6)] == [5, 6]
    assert seconds.take(6) == []
    assert [found.second for found in seconds.take(float("inf"))] == [7]
    assert seconds.oldest == float("inf")


def test_the_level_of_a_worker_that_has_ended_stays() -> None:
    seconds = OpenSeconds()
    seconds.add(0, 5, measured(level=1.0), health(0, 5))
    seconds.add(1, 5, measured(level=2.0), health(1, 5))
    seconds.add(1, 6, measured(level=5.0), health(1, 6))
    assert levels(seconds.take(6)) == [3.0, 6.0]


def test_the_level_of_a_worker_that_died_is_gone() -> None:
    seconds = OpenSeconds()
    seconds.add(0, 5, measured(level=1.0), health(0, 5))
    seconds.add(1, 5, measured(level=2.0), health(1, 5))
    assert levels(seconds.take(5)) == [3.0]
    seconds.drop_levels(1)
    seconds.add(0, 6, measured(level=1.0), health(0, 6))
    assert levels(seconds.take(6)) == [1.0]


def test_the_last_level_of_a_worker_that_died_does_not_outlive_it() -> None:
    """Its last second may be open still when it dies."""
    seconds = OpenSeconds()
    seconds.add(1, 5, measured(level=2.0), health(1, 5))
    seconds.drop_levels(1)
    for second in (5, 6):
        seconds.add(0, second, measured(level=1.0), health(0, second))
    assert levels(seconds.take(6)) == [1.0, 1.0]


def test_a_late_report_is_counted_without_its_levels() -> None:
    seconds = OpenSeconds()
    seconds.add(0, 5, measured(1, 1.0), health(0, 5))
    seconds.take(5)
    seconds.add(1, 5, measured(2, 2.0), health(1, 5))
    (late,) = seconds.take(5)
    assert late.snapshot.counters == {"orders": 2}
    assert levels([late]) == [None]


def test_a_second_that_a_worker_skipped_has_its_last_level() -> None:
    seconds = OpenSeconds()
    seconds.add(0, 5, measured(level=1.0), health(0, 5))
    seconds.take(5)
    seconds.add(1, 6, measured(level=2.0), health(1, 6))
    assert levels(seconds.take(6)) == [3.0]
