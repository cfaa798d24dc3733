"""The clocks: a pair of readings that a preemption tears apart is not used."""

import pytest

from amoc_gevent import clock

READING_NS = 40
AHEAD_NS = 1_700_000_000_123_456_789


class PreemptedClocks:
    """Both clocks, on which each reading takes 40 ns. The process is preempted before some."""

    def __init__(self, preempted: dict[int, int], ahead_ns: int = AHEAD_NS) -> None:
        self.now = 5_000_000_000
        self.ahead_ns = ahead_ns
        self.readings = 0
        self._preempted = preempted

    def monotonic_ns(self) -> int:
        self.now += READING_NS + self._preempted.get(self.readings, 0)
        self.readings += 1
        return self.now

    def wall_ns(self) -> int:
        return self.monotonic_ns() + self.ahead_ns

    def replace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clock, "monotonic", lambda: self.monotonic_ns() / 1e9)
        monkeypatch.setattr(clock, "monotonic_ns", self.monotonic_ns)
        monkeypatch.setattr(clock, "wall_ns", self.wall_ns)
        monkeypatch.setattr(clock, "wall_origin_until", 0.0)


@pytest.mark.parametrize("reading", range(12))
def test_a_preemption_between_two_readings_does_not_move_one_clock_against_the_other(
    monkeypatch: pytest.MonkeyPatch, reading: int
) -> None:
    PreemptedClocks({reading: 3_000_000}).replace(monkeypatch)
    for _ in range(4):
        assert abs(clock.wall_minus_monotonic_ns() - AHEAD_NS) <= 2 * READING_NS


def test_of_pairs_that_are_all_torn_apart_the_closest_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torn = dict.fromkeys(range(1, 60, 3), 1000000)
    clocks = PreemptedClocks({**torn, 13: 40_000})
    clocks.replace(monkeypatch)
    assert abs(clock.wall_minus_monotonic_ns() - AHEAD_NS) <= 40_000 + 2 * READING_NS
    assert clocks.readings <= 30  # it gives up


def test_a_step_of_the_wall_clock_is_measured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = PreemptedClocks({})
    clocks.replace(monkeypatch)
    before = clock.wall_minus_monotonic()
    clocks.ahead_ns += 2_000_000_000
    assert clock.wall_minus_monotonic() - before == pytest.approx(2.0, abs=1e-6)
