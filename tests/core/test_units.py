"""Times, rates and figures: parsing and formatting."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.core.units import (
    counted,
    format_count,
    format_duration,
    format_us,
    parse_duration,
    parse_rate,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15", 15),
        ("0", 0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("500ms", 0.5),
        ("30s", 30),
        ("1.5s", 1.5),
        ("5m", 300),  # m is minutes, not milliseconds
        ("1h", 3600),
        ("1m30s", 90),
        ("1h1m1s1ms", 3661.001),
        (" 1h 5s ", 3605),
        ("90m", 5400),
    ],
)
def test_a_time_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "-5s", "5x", "30s1m", "5 apples", "1m30", "nan", "inf", "1e3", "5S", "1.2.3s"],
)
def test_an_invalid_time_is_rejected_with_the_valid_forms(text: str) -> None:
    with pytest.raises(ValueError, match="500ms, 30s, 5m, 1h or 1m30s") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20", 20),
        ("20/s", 20),
        ("0.5/s", 0.5),
        ("1200/min", 20),
        ("1200/m", 20),
        ("36/h", 0.01),
        (" 20 / s ", 20),
    ],
)
def test_a_rate_is_read_as_per_second(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "fast", "20/", "20/day", "-1/s", "/s", "20s", "1/2/s"])
def test_an_invalid_rate_is_rejected_with_the_valid_forms(text: str) -> None:
    with pytest.raises(ValueError, match="20/s, 1200/min or 5/h"):
        parse_rate(text)


def test_a_rate_of_zero_is_rejected() -> None:
    with pytest.raises(ValueError, match="above zero"):
        parse_rate("0/s")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (0.9996, "1s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (15.4, "15s"),
        (59.6, "1m"),
        (90, "1m 30s"),
        (3600, "1h"),
        (3661, "1h 1m 1s"),
        (-90, "-1m 30s"),
    ],
)
def test_a_time_is_formatted_without_zero_parts(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**6))
def test_a_formatted_time_can_be_parsed(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0 µs"),
        (850, "850 µs"),
        (999.4, "999 µs"),
        (999.6, "1.00 ms"),  # never "1000 µs"
        (1234, "1.23 ms"),
        (9_996, "10.0 ms"),
        (12_345, "12.3 ms"),
        (123_456, "123 ms"),
        (999_499, "999 ms"),
        (999_500, "1.00 s"),
        (1_204_000, "1.20 s"),
        (3_600_000_000, "3600 s"),
    ],
)
def test_microseconds_are_written_with_three_digits(us: float, text: str) -> None:
    assert format_us(us) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (12, "12"),
        (12345, "12,345"),
        (7.25, "7.25"),
        (0.004, "0.00"),
        (99.96, "100"),
        (1234.5, "1,234"),
    ],
)
def test_counts_are_exact_and_fractions_short(count: float, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (parse_duration, "9" * 400, "is too long: a time is at most 366 days"),
        (parse_duration, "8785h", "is too long: a time is at most 366 days"),
        (parse_rate, "9" * 400, "is too high a rate: 1,000,000/s at most"),
        (parse_rate, "1000001/s", "is too high a rate: 1,000,000/s at most"),
        (parse_rate, "x" * 400, "is not a rate"),
        (parse_duration, "x" * 400, "is not a time"),
    ],
)
def test_a_number_out_of_bounds_is_refused_and_not_repeated_at_length(
    parse: Callable[[str], float], text: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse(text)
    assert len(str(caught.value)) < 150


def test_the_longest_time_and_the_highest_rate_are_valid() -> None:
    assert parse_duration("8784h") == 366 * 86400
    assert parse_rate("1000000/s") == 1e6


def test_one_is_singular() -> None:
    assert [counted(n, "second") for n in (0, 1, 1200)] == [
        "0 seconds",
        "1 second",
        "1,200 seconds",
    ]
