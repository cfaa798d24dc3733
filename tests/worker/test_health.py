"""The generator's own health: measurements, and the warning about descriptors."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from amoc_gevent import clock
from amoc_gevent.core.measure.histogram import Histogram
from amoc_gevent.core.measure.results import marks_of
from amoc_gevent.core.messages import Health
from amoc_gevent.worker.health import HealthMonitor, descriptor_warning
from tests.lasting import stand_still
from tests.worker.crowd import until

NO_LAG = Histogram()


@pytest.fixture
def monitor() -> Iterator[HealthMonitor]:
    found = HealthMonitor("here", 3)
    gevent.sleep(0)  # its timer starts
    yield found
    found.stop()


def test_the_record_names_node_worker_second_and_pid(monitor: HealthMonitor) -> None:
    found = monitor.take(1234, NO_LAG)
    assert (found.node, found.worker, found.second, found.pid) == ("here", 3, 1234, os.getpid())
    assert found.rss > 1_000_000
    assert found.descriptor_limit >= found.descriptors > 3


def test_a_blocked_hub_lags(monitor: HealthMonitor) -> None:
    stand_still(0.25)
    until(lambda: monitor._late_ns)
    found = monitor.take(1, NO_LAG)
    assert found.timer_lag_us >= 100_000
    assert "lag" in marks_of([found])


def test_the_lag_is_reset_each_second(monitor: HealthMonitor) -> None:
    monitor._late_ns = 90_000_000
    assert monitor.take(1, NO_LAG).timer_lag_us >= 90_000
    assert monitor._late_ns == 0


def test_bytes_that_waited_to_be_read_count_as_lag(monitor: HealthMonitor) -> None:
    waited = Histogram()
    waited.record(20)
    waited.record(80_000)
    found = monitor.take(1, waited)
    assert found.pickup_lag_us == pytest.approx(80_000, rel=0.001)
    assert "lag" in marks_of([found])


def burn(seconds: float) -> None:
    end = clock.cpu_ns() + int(seconds * 1e9)
    while clock.cpu_ns() < end:
        pass


def test_cpu_is_the_share_of_one_core_since_the_last_call(monitor: HealthMonitor) -> None:
    monitor.take(1, NO_LAG)
    began = clock.monotonic_ns()
    burn(0.6)
    spent = 0.6 / ((clock.monotonic_ns() - began) / 1e9)
    assert monitor.take(2, NO_LAG).cpu == pytest.approx(spent, rel=0.2)
    assert monitor.take(3, NO_LAG).cpu < 0.2


def test_descriptors_are_counted(monitor: HealthMonitor, tmp_path: Path) -> None:
    before = monitor.take(1, NO_LAG).descriptors
    opened = [os.open(tmp_path, os.O_RDONLY) for _ in range(20)]
    try:
        assert monitor.take(2, NO_LAG).descriptors == before + 20
    finally:
        for descriptor in opened:
            os.close(descriptor)


@pytest.mark.parametrize("step", [0.5, -0.5])
def test_a_step_of_the_wall_clock_is_reported_once(
    monitor: HealthMonitor, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    real: Callable[[], float] = clock.wall_minus_monotonic
    monkeypatch.setattr(clock, "wall_minus_monotonic", lambda: real() + step)
    stepped, after = monitor.take(1, NO_LAG), monitor.take(2, NO_LAG)
    assert stepped.clock_step_s == pytest.approx(step, abs=0.01)
    assert abs(after.clock_step_s) < 0.01
    assert marks_of([stepped]) == ("clock",)


def health(cpu: float = 0.0, timer_us: int = 0, pickup_us: int = 0, step: float = 0.0) -> Health:
    return Health("a", 0, 1, 1, cpu, timer_us, pickup_us, 0, 0, 0, step)


@pytest.mark.parametrize(
    ("measured", "marks"),
    [
        ([], ()),
        ([health(cpu=0.90, timer_us=50_000, pickup_us=50_000)], ()),
        ([health(cpu=0.91)], ("cpu",)),
        ([health(timer_us=50_001)], ("lag",)),
        ([health(pickup_us=50_001)], ("lag",)),
        ([health(), health(cpu=0.95), health(timer_us=60_000)], ("cpu", "lag")),
    ],
)
def test_a_second_is_marked_above_50_ms_of_lag_and_90_percent_of_cpu(
    measured: list[Health], marks: tuple[str, ...]
) -> None:
    assert marks_of(measured) == marks


@pytest.mark.parametrize(
    ("users", "workers", "limit", "wanted"),
    [
        (936, 1, 1000, None),
        (937, 1, 1000, 1001),
        (1872, 2, 1000, None),
        (1873, 2, 1000, 1001),
        (1, 8, 64, 65),
    ],
)
def test_too_few_descriptors_for_the_users_give_a_warning(
    users: int, workers: int, limit: int, wanted: int | None
) -> None:
    said = descriptor_warning(users, workers, limit)
    if wanted is None:
        assert said is None
    else:
        assert said is not None
        where = "1 worker" if workers == 1 else f"{workers} workers"
        assert said.startswith(f"{users} users with a connection each on {where} need {wanted} ")
        assert f"the limit is {limit}: raise it (ulimit -Hn {wanted})" in said
