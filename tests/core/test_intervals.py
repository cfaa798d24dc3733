"""Sets of ids as intervals, against Python's own sets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.core.intervals import IdSet

small = st.integers(1, 60)
intervals = st.lists(st.tuples(small, small), max_size=12)


def ids_of(pairs: list[tuple[int, int]]) -> set[int]:
    return {one for first, last in pairs for one in range(first, last + 1)}


@given(intervals)
def test_it_holds_what_was_added_in_any_order_and_nothing_else(
    pairs: list[tuple[int, int]],
) -> None:
    found, expected = IdSet(pairs), ids_of(pairs)

    assert {one for one in range(70) if one in found} == expected
    assert len(found) == len(expected)
    assert ids_of(list(found)) == expected


@given(intervals)
def test_its_intervals_are_ascending_and_never_touch(pairs: list[tuple[int, int]]) -> None:
    found = list(IdSet(pairs))

    assert all(first <= last for first, last in found)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(found))


@given(intervals, small, small, st.integers(1, 7))
def test_it_counts_its_ids_in_a_range(
    pairs: list[tuple[int, int]], first: int, length: int, step: int
) -> None:
    ids = range(first, first + length, step)

    assert IdSet(pairs).count_in(ids) == len(ids_of(pairs) & set(ids))


def test_an_empty_range_has_nothing() -> None:
    assert IdSet([(1, 9)]).count_in(range(5, 5)) == 0


@given(intervals, small, small)
def test_gaps_are_yielded_from_the_highest_down(
    pairs: list[tuple[int, int]], first: int, last: int
) -> None:
    gaps = list(IdSet(pairs).gaps_down(first, last))

    assert ids_of(gaps) == set(range(first, last + 1)) - ids_of(pairs)
    assert gaps == sorted(gaps, reverse=True)
    assert sum(b - a + 1 for a, b in gaps) == len(ids_of(gaps))


@given(intervals, small)
def test_the_end_of_a_stretch_is_the_last_id_without_a_gap(
    pairs: list[tuple[int, int]], user_id: int
) -> None:
    held = ids_of(pairs)
    expected = user_id if user_id in held else None
    while expected is not None and expected + 1 in held:
        expected += 1

    assert IdSet(pairs).interval_end(user_id) == expected


def test_one_id_is_an_interval_of_its_own() -> None:
    found = IdSet()
    found.add(5)
    found.add(7)
    assert list(found) == [(5, 5), (7, 7)]
    found.add(6)
    assert list(found) == [(5, 7)]


@pytest.mark.parametrize("pair", [(5, 4), (1, -1)])
def test_an_interval_that_ends_before_it_begins_is_empty(pair: tuple[int, int]) -> None:
    assert len(IdSet([pair])) == 0


def test_a_million_consecutive_ids_added_one_by_one_are_one_interval() -> None:
    found = IdSet((one, one) for one in range(1, 100_001))
    assert list(found) == [(1, 100_000)]
