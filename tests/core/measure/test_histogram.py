"""Histograms against a sorted list of the same values."""

import math
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.core.measure.histogram import (
    PACKED_MAX,
    Histogram,
    PackedHistogram,
    bucket_of,
    midpoint_of,
)

HOUR_US = 3_600_000_000
VALUES = st.integers(0, HOUR_US) | st.integers(0, 5000)
FRACTIONS = ("0.5", "0.9", "0.95", "0.99", "0.999", "1")


def histogram_of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(VALUES)
def test_a_bucket_stands_for_its_values_within_a_tenth_of_a_percent(value: int) -> None:
    assert abs(midpoint_of(bucket_of(value)) - value) <= value / 1000


@given(VALUES, VALUES)
def test_buckets_are_ordered_as_their_values(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert bucket_of(low) <= bucket_of(high)


@given(VALUES)
def test_recording_uses_the_bucket_that_bucket_of_names(value: int) -> None:
    assert dict(histogram_of([value]).buckets) == {bucket_of(value): 1}


@pytest.mark.parametrize("value", [0, 1, 1023, 1024, 1025, 2047, 2048, 2**32 - 1, 2**32])
def test_at_the_edges_of_the_powers_of_two_no_bucket_is_shared_or_left_out(value: int) -> None:
    assert bucket_of(value + 1) - bucket_of(value) in (0, 1)
    assert abs(midpoint_of(bucket_of(value)) - value) <= value / 1000


def test_a_clock_that_went_backwards_counts_as_zero() -> None:
    assert dict(histogram_of([-1, -5000, 0]).buckets) == {0: 3}


@given(st.lists(VALUES, min_size=1))
def test_percentiles_are_those_of_the_sorted_list_by_nearest_rank(values: list[int]) -> None:
    found = histogram_of(values).percentiles(float(f) for f in FRACTIONS)
    ordered = sorted(values)
    for fraction, value in zip(FRACTIONS, found, strict=True):
        exact = ordered[max(1, math.ceil(Fraction(fraction) * len(values))) - 1]
        assert abs(value - exact) <= exact / 1000


@pytest.mark.parametrize("fraction", ["0.5", "0.07", "0.29", "0.9", "0.95", "0.99", "0.999"])
def test_the_rank_is_exact_where_a_float_product_is_not(fraction: str) -> None:
    for count in range(1, 1001):
        histogram = Histogram(dict.fromkeys(range(count), 1))
        rank = math.ceil(Fraction(fraction) * count)
        assert histogram.percentiles([float(fraction)]) == [max(1, rank) - 1]


@given(st.lists(VALUES), st.lists(VALUES))
def test_merging_is_the_same_as_recording_all_in_one(one: list[int], other: list[int]) -> None:
    merged = histogram_of(one)
    merged.merge(histogram_of(other))
    assert merged.buckets == histogram_of(one + other).buckets


@given(st.lists(VALUES, min_size=1))
def test_count_mean_and_extremes_are_the_lists(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert histogram.count == len(values)
    assert histogram.min == pytest.approx(min(values), rel=1e-3)
    assert histogram.max == pytest.approx(max(values), rel=1e-3)
    assert histogram.mean == pytest.approx(sum(values) / len(values), rel=1e-3)


def test_an_empty_histogram_answers_zero_everywhere() -> None:
    empty = Histogram()
    assert (empty.count, empty.min, empty.max, empty.mean) == (0, 0.0, 0.0, 0.0)
    assert empty.percentiles([0.5, 0.99]) == [0.0, 0.0]


def test_a_histogram_made_of_buckets_does_not_share_them() -> None:
    buckets = {5: 1}
    Histogram(buckets).record(5)
    assert buckets == {5: 1}


def packed_of(values: list[int]) -> bytes:
    buckets = histogram_of(values).buckets
    return b"".join(struct.pack("<HH", key, count) for key, count in buckets.items())


@given(st.lists(st.tuples(st.lists(VALUES), st.booleans(), st.booleans())))
def test_packed_histograms_merge_like_others_whenever_they_are_read(
    parts: list[tuple[list[int], bool, bool]],
) -> None:
    merged, values = PackedHistogram(b""), list[int]()
    for part, is_packed, looked_at in parts:
        merged.merge(PackedHistogram(packed_of(part)) if is_packed else histogram_of(part))
        values += part
        if looked_at:
            assert merged.count == len(values)
    assert merged.buckets == histogram_of(values).buckets
    assert merged.percentiles([0.5]) == histogram_of(values).percentiles([0.5])


def test_merging_leaves_the_merged_packed_histogram_unchanged() -> None:
    one, other = PackedHistogram(packed_of([5])), PackedHistogram(packed_of([5, 7]))
    one.merge(other)
    one.record(7)
    other.record(9)
    assert (one.buckets, other.buckets) == ({5: 2, 7: 2}, {5: 1, 7: 1, 9: 1})


def test_packed_histograms_that_are_never_read_do_not_pile_up() -> None:
    merged, part = PackedHistogram(b""), packed_of([5, 5, 7])
    for _ in range(2 * PACKED_MAX):
        merged.merge(PackedHistogram(part))
        assert len(merged.packed or ()) <= PACKED_MAX
    assert merged.buckets == {5: 4 * PACKED_MAX, 7: 2 * PACKED_MAX}
