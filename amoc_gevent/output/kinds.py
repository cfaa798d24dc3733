"""How people ask for an output: its command-line options. Importing it costs nothing."""

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
        """Its key among the given options."""
        return self.flag.removeprefix("--").replace("-", "_")


class Chosen(Protocol):
    """An output that was asked for, with its options."""

    @property
    def file(self) -> str:
        """The file in which `amoc run` keeps what the output leaves; empty for none."""

    def arguments(self) -> list[str]:
        """Return the command-line options that say the same."""

    def open(self, say: Callable[[str], None]) -> "Output":
        """Return the output; `say` prints a line for people."""


@dataclass(frozen=True, slots=True)
class OutputKind:
    """A kind of output: its options, and the function that reads them.

    `choose` gets the options' values by `Option.name`. It returns None where the output is not
    wanted, and raises UsageError for bad values.
    """

    options: Sequence[Option]
    choose: Callable[[Mapping[str, Any]], Chosen | None]
