"""Lines of aligned columns that fit the width of a terminal."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from amoc_gevent.core.columns import GAP, padded

Cell = tuple[str, str]
"""A cell's text and style."""

MIN_NAME = 12


def crop_middle(text: str, width: int) -> str:
    """Return `text` in at most `width` cells, with an ellipsis for its middle."""
    if cell_len(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    tail = (width - 1) // 2
    head = set_cell_size(text, width - 1 - tail).rstrip()
    end = text
    while cell_len(end) > tail:
        end = end[1:]
    return f"{head}…{end}"


def crop_end(text: str, width: int) -> str:
    """Return `text` in at most `width` cells, with an ellipsis for its end."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def grid(rows: Sequence[Sequence[Cell]], width: int) -> list[Text]:
    """Return a line for each row: a name, cropped to fit, and right-aligned figures."""
    if not rows:
        return []
    figures = [max(cell_len(row[i][0]) for row in rows) for i in range(1, len(rows[0]))]
    room = max(MIN_NAME, width - sum(figures) - GAP * len(figures))
    longest = max(MIN_NAME, *(cell_len(row[0][0]) for row in rows))
    table = [[crop_middle(row[0][0], room), *(text for text, _ in row[1:])] for row in rows]
    table.append(
        [" " * min(room, longest), *("" for _ in figures)]
    )  # the least width of the names' column
    filled = padded(table, left=1, length=cell_len)[:-1]
    return [_line(cells, row, width) for cells, row in zip(filled, rows, strict=True)]


def _line(cells: Sequence[str], row: Sequence[Cell], width: int) -> Text:
    line = Text(cells[0], row[0][1])
    for cell, (text, style) in zip(cells[1:], row[1:], strict=True):
        line.append(" " * GAP + cell.removesuffix(text))
        line.append(text, style)
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    return line


def flowed(label: str, items: Iterable[Cell], width: int, max_lines: int = 2) -> list[Text]:
    """Return the items after `label` in at most `max_lines` lines; the rest are counted."""
    lines: list[Text] = []
    waiting = [*items]
    indent = " " * (len(label) + GAP)
    while waiting and len(lines) < max_lines:
        line = Text(indent if lines else label + " " * GAP, "dim" if not lines else "")
        last = len(lines) == max_lines - 1
        while waiting:
            text, style = waiting[0]
            rest = f"and {len(waiting) - 1} more" if last and len(waiting) > 1 else ""
            room = width - line.cell_len - (len(rest) + 3 if rest else 0)
            first = line.cell_len == len(indent)
            if cell_len(text) + (0 if first else 3) > room and not first:
                break
            line.append(("" if first else " · "), "dim")
            line.append(crop_middle(text, max(1, room)), style)
            waiting.pop(0)
        lines.append(line)
    if waiting:
        lines[-1].append(f" · and {len(waiting)} more", "dim")
        lines[-1].truncate(width, overflow="ellipsis")
    return lines
