"""Aligned columns."""

from amoc_gevent.core.columns import columns, padded


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns([("a", "1"), ("bcd", "23")], left=1) == ["a     1", "bcd  23"]


def test_the_width_of_a_text_is_what_its_terminal_says() -> None:
    rows = [("日本", "1"), ("c", "10")]
    assert padded(rows, 1, length=lambda text: sum(1 + (char > "z") for char in text)) == [
        ["日本", " 1"],
        ["c   ", "10"],
    ]


def test_the_last_column_can_be_at_the_left() -> None:
    rows = [("a", "1", "why"), ("b", "10", "it")]
    assert columns(rows, left=1, last_left=True) == ["a   1  why", "b  10  it"]
