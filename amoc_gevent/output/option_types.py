"""What an output declares: its options, and how they are read. The list is in `kinds.py`.

The import is cheap.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from amoc_gevent.output.base import Output


@dataclass(frozen=True, slots=True)
class Option:
    """A command-line option of an output; its value is text, or a time in seconds (float)."""

    flag: str
    help: str
    metavar: str | None = None
    unit: Literal["text", "time"] = "text"
    default: str | float | None = None

    @property
    def name(self) -> str:
        """The key of its value."""
        return self.flag.removeprefix("--").replace("-", "_")


class Chosen(Protocol):
    """A requested output with its options."""

    @property
    def file(self) -> str:
        """The file in which `amoc run` stores undelivered data of the output; empty for none."""

    def arguments(self) -> list[str]:
        """Return the equivalent command-line options."""

    def open(self, say: Callable[[str], None]) -> "Output":
        """Return the output; `say` prints a line for people."""


@dataclass(frozen=True, slots=True)
class OutputKind:
    """A kind of output: its options, and the function that reads them.

    `choose` gets the options' values by `Option.name`. It returns None if the output is not
    requested, and raises UsageError for bad values.
    """

    options: Sequence[Option]
    choose: Callable[[Mapping[str, Any]], Chosen | None]
