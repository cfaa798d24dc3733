"""Full collections happen when memory grows beyond what the users account for."""

import gc
from collections.abc import Iterator

import pytest

from amoc_gevent.worker.garbage import THRESHOLDS, GarbageCollector

MB = 1 << 20


@pytest.fixture
def collector() -> Iterator[GarbageCollector]:
    before = gc.get_threshold()
    yield GarbageCollector(40 * MB)
    gc.set_threshold(*before)
    gc.unfreeze()


def test_objects_from_before_are_frozen(collector: GarbageCollector) -> None:
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold() == THRESHOLDS


def test_a_small_process_is_not_collected(collector: GarbageCollector) -> None:
    assert not any(collector.check(size * MB, users) for size, users in [(41, 1), (123, 900)])


def test_a_ramp_of_users_causes_no_collection(collector: GarbageCollector) -> None:
    each = 0.025
    sizes = ((int((40 + each * users) * MB), users) for users in range(0, 100_000, 500))
    assert not any(collector.check(size, users) for size, users in sizes)


def test_growth_without_users_causes_a_collection_per_half(
    collector: GarbageCollector,
) -> None:
    sizes = [size for size in range(40, 1000) if collector.check(size * MB, 10)]
    assert sizes == [125, 252, 443, 729]


def test_users_that_end_cause_no_collection_and_their_memory_is_allowed_once(
    collector: GarbageCollector,
) -> None:
    assert not collector.check(800 * MB, 100_000)
    assert not any(collector.check(800 * MB, users) for users in (50_000, 10, 100_000))
    assert collector.check(3300 * MB, 100_000)
    assert not collector.check(5000 * MB, 100_000)
    assert collector.check(5100 * MB, 10)


def own_loops() -> int:
    return sum(isinstance(one, list) and bool(one) and one[0] is one for one in gc.get_objects())


def test_old_garbage_is_collected(collector: GarbageCollector) -> None:
    kept: list[object] = []
    for _ in range(3):
        loop: list[object] = []
        loop.append(loop)
        kept.append(loop)
    gc.collect(1)
    del kept, loop
    assert own_loops() == 3
    assert collector.check(500 * MB, 1)
    assert own_loops() == 0
