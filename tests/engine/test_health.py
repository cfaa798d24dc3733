"""What a process says of itself."""

from amoc_gevent import clock
from amoc_gevent.core.histogram import Histogram
from amoc_gevent.engine.health import HealthMonitor


def burn(seconds: float) -> None:
    """Use this much CPU time."""
    until = clock.cpu_ns() + int(seconds * 1e9)
    while clock.cpu_ns() < until:
        pass


def test_a_busy_moment_at_the_end_of_a_run_is_no_busy_second() -> None:
    monitor = HealthMonitor("local", 0)
    burn(0.02)
    health = monitor.take(100, Histogram())
    monitor.stop()
    assert 0.04 <= health.cpu < 0.9


def test_the_longest_wait_of_arrived_bytes_is_taken_from_the_histogram() -> None:
    monitor = HealthMonitor("local", 3)
    pickup = Histogram()
    for lag_us in (100, 900, 300):
        pickup.record(lag_us)
    health = monitor.take(100, pickup)
    monitor.stop()
    assert (health.pickup_lag_us, health.worker, health.second) == (900, 3, 100)
    assert 0 < health.descriptors < health.descriptor_limit
    assert health.rss > 1_000_000
