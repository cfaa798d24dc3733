"""Lines for a terminal: aligned, cropped where they must be, never wider than it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from amoc_gevent.output.terminal.grid import crop_end, crop_middle, flowed, grid

TEXTS = st.text(st.sampled_from("aé日 {}/|…"), max_size=60)


@pytest.mark.parametrize(
    ("text", "width", "cropped"),
    [
        ("GET /items", 10, "GET /items"),
        ("GET /items/{id}/reviews", 11, "GET /…views"),
        ("GET /items/{id}/reviews", 12, "GET /i…views"),
        ("abc", 2, "a…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("日本語日本語", 5, "日…語"),
    ],
)
def test_a_long_name_loses_its_middle(text: str, width: int, cropped: str) -> None:
    assert crop_middle(text, width) == cropped


def test_a_long_sentence_loses_its_end() -> None:
    assert crop_end("the generator kept up", 13) == "the generato…"
    assert crop_end("short", 13) == "short"


@given(TEXTS, st.integers(0, 80))
def test_cropped_text_is_never_too_wide(text: str, width: int) -> None:
    assert cell_len(crop_middle(text, width)) <= width
    assert cell_len(crop_end(text, width)) <= max(width, 1)


def test_figures_stand_under_each_other() -> None:
    lines = grid([[("name", ""), ("count", "")], [("GET /", ""), ("12,345", "")]], 40)
    assert [line.plain for line in lines] == ["name           count", "GET /         12,345"]


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=5), st.integers(20, 120))
def test_a_grid_is_never_wider_than_asked(rows: list[tuple[str, ...]], width: int) -> None:
    lines = grid([[(cell, "") for cell in row] for row in rows], width)
    assert len(lines) == len(rows)
    assert all(line.cell_len <= width for line in lines)


def test_items_flow_onto_a_second_line_and_the_rest_is_counted() -> None:
    items = [(f"item{n} {n * 1000}", "") for n in range(1, 8)]
    lines = [line.plain for line in flowed("counters", items, 40)]
    assert lines == [
        "counters  item1 1000 · item2 2000",
        "          item3 3000 · and 4 more",
    ]


def test_no_items_make_no_line() -> None:
    assert flowed("errors", [], 80) == []


@given(
    st.lists(TEXTS.filter(lambda text: text.strip() != ""), max_size=12),
    st.integers(20, 120),
    st.integers(1, 3),
)
def test_flowed_items_are_never_wider_than_asked(
    items: list[str], width: int, max_lines: int
) -> None:
    lines = flowed("counters", [(item, "") for item in items], width, max_lines)
    assert len(lines) <= max_lines
    assert all(line.cell_len <= width for line in lines)
