"""The table of a benchmark: title, notes on the comparison, aligned columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Table:
    """The output of a benchmark. Columns of names are aligned left, other columns right."""

    title: str
    notes: Sequence[str]
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row with as many cells as there are columns."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns: {cells}")
        self.rows.append(cells)

    def __str__(self) -> str:
        texts = [_aligned(cells) for cells in zip(self.columns, *self.rows, strict=True)]
        text = ["   ".join(line).rstrip() for line in zip(*texts, strict=True)]
        text.insert(1, "-" * max(map(len, text)))
        notes = [f"  {note}" for note in self.notes]
        return "\n".join([self.title, *notes, "", *(f"  {line}" for line in text), ""])


def _aligned(cells: Sequence[str]) -> list[str]:
    width = max(map(len, cells))
    is_name = all(cell[:1].isalpha() for cell in cells if cell)
    return [cell.ljust(width) if is_name else cell.rjust(width) for cell in cells]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of ours / theirs over the pairs, whose values were measured in turn."""
    return median(mine / other for mine, other in zip(ours, theirs, strict=True))


def at_least(value: float, bar: float, unit: str = "") -> str:
    """Return a cell that tells whether `value` reaches `bar`."""
    return f"≥ {bar:,g}{unit} {'met' if value >= bar else 'MISSED'}"


def at_most(value: float, bar: float, unit: str = "") -> str:
    """Return a cell that tells whether `value` stays within `bar`."""
    return f"≤ {bar:,g}{unit} {'met' if value <= bar else 'MISSED'}"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return the median, followed by minimum and maximum if there are several values."""
    low, middle, high = min(values), median(values), max(values)
    if len(values) == 1:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"
