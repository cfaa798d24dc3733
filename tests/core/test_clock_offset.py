"""The clock offset: the true value is always within the bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.core.clock_offset import DRIFT, ClockOffset

delays = st.floats(0.00001, 2.0)


@given(
    st.floats(-1e9, 1e9),
    st.lists(st.tuples(delays, delays, st.floats(0, 1), st.floats(0, 10)), min_size=1, max_size=80),
)
def test_the_true_offset_is_within_the_bound(
    offset: float, exchanges: list[tuple[float, float, float, float]]
) -> None:
    estimate = ClockOffset()
    now = 1000.0
    for there, kept, back, pause in ((a, c, b, d) for a, b, c, d in exchanges):
        sent, now = now, now + there + kept + back
        estimate.add_exchange(sent, sent + there + offset, now - back + offset, now)
        found, bound = estimate.at(now)
        assert abs(found - offset) <= bound + 1e-6
        now += pause


def test_the_shortest_exchange_wins_until_it_is_old() -> None:
    estimate = ClockOffset()
    estimate.add_exchange(0.0, 100.0005, 100.0005, 0.001)
    estimate.add_exchange(1.0, 101.9, 101.9, 2.0)
    assert estimate.at(2.0) == pytest.approx((100.0, 0.0005 + 1.999 * DRIFT))
    estimate.add_exchange(9999.0, 10099.005, 10099.005, 9999.002)
    assert estimate.at(9999.002)[0] == pytest.approx(100.004)


def test_before_an_exchange_the_offset_comes_from_messages_and_is_unbounded() -> None:
    estimate = ClockOffset()
    assert estimate.at(5.0) == (0.0, float("inf"))
    estimate.add_one_way(105.0, 5.5)
    estimate.add_one_way(107.0, 7.2)
    assert estimate.at(8.0) == (pytest.approx(99.8), float("inf"))


def test_an_impossible_exchange_is_ignored() -> None:
    estimate = ClockOffset()
    estimate.add_exchange(10.0, 100.0, 105.0, 11.0)
    assert estimate.at(11.0)[1] == float("inf")


def test_another_master_is_another_clock() -> None:
    estimate = ClockOffset()
    estimate.add_exchange(0.0, 100.0, 100.0, 0.001)
    estimate.reset()
    assert estimate.at(1.0) == (0.0, float("inf"))
