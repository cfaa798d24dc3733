"""Aligns the columns of tables, in plain text or styled cells, and crops what is too wide."""

from collections.abc import Callable, Iterable, Sequence

GAP = 2
"""Spaces between two columns."""


def padded(
    rows: Iterable[Sequence[str]],
    left: int,
    *,
    last_left: bool = False,
    length: Callable[[str], int] = len,
) -> list[list[str]]:
    """Return the cells of each row, padded with spaces to the width of their columns.

    The first `left` columns are left-aligned, and the last one too with `last_left`; the others are
    right-aligned. `length` returns how many terminal cells a text takes.
    """
    table = [*rows]
    widths = [max(map(length, column)) for column in zip(*table, strict=True)]
    at_left = [at < left or (last_left and at == len(widths) - 1) for at in range(len(widths))]
    return [
        [
            text + " " * (width - length(text))
            if leftwards
            else " " * (width - length(text)) + text
            for text, width, leftwards in zip(row, widths, at_left, strict=True)
        ]
        for row in table
    ]


def columns(rows: Iterable[Sequence[str]], left: int, *, last_left: bool = False) -> list[str]:
    """Return a line for each row, with columns aligned as in `padded`."""
    return [(" " * GAP).join(row).rstrip() for row in padded(rows, left, last_left=last_left)]


def crop(text: str, width: int) -> str:
    """Return `text` in at most `width` characters, with an ellipsis for its end."""
    return text if len(text) <= width else text[: max(0, width - 1)].rstrip() + "…"[:width]


def widest(lines: Iterable[str]) -> int:
    """Return the length of the longest line, 0 if there is none."""
    return max(map(len, lines), default=0)
