"""Runs a step on all machines in parallel, with an outcome for each."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

from amoc_gevent.core.units import counted
from amoc_gevent.errors import AmocError
from amoc_gevent.hosts.inventory import Host

AT_ONCE = 64
OFFSET_S = 0.5
"""Seconds by which a machine's clock may differ without a note."""


@dataclass(slots=True)
class Outcome:
    """The outcome on one machine: changes, notes, and the reason of a failure."""

    machine: Host
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: str = ""
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, verb: str, answer: dict[str, Any]) -> dict[str, Any]:
        """Add the changes and notes of an answer, and a note if the clock is off."""
        self.answers[verb] = answer
        self.changed += answer.get("changed", ())
        self.notes += answer.get("notes", ())
        offset = answer.get("offset", 0.0)
        if abs(offset) > OFFSET_S and not any("clock is" in note for note in self.notes):
            what = "ahead of" if offset > 0 else "behind"
            self.notes.append(f"its clock is {abs(offset):.1f} s {what} this machine's")
        return answer

    def line(self, width: int, *, check: bool) -> str:
        """Return the outcome in one line."""
        if self.failed:
            word, text = "failed", self.failed
        elif self.changed:
            word, text = ("would change" if check else "changed"), ", ".join(self.changed)
        else:
            word, text = "ok", "nothing to change"
        notes = "".join(f"; {note}" for note in self.notes)
        return f"{self.machine.name:<{width}}  {word:<7}  {text}{notes}"


Step = Callable[[Outcome], None]


def on_all(outcomes: Iterable[Outcome], step: Step) -> None:
    """Run a step on all machines that have not failed, in parallel; record each AmocError."""

    def one(outcome: Outcome) -> None:
        try:
            step(outcome)
        except AmocError as error:
            outcome.failed = str(error)

    going = [outcome for outcome in outcomes if not outcome.failed]
    if not going:
        return
    with ThreadPoolExecutor(min(AT_ONCE, len(going))) as pool:
        for future in as_completed([pool.submit(one, outcome) for outcome in going]):
            future.result()


def summary_line(outcomes: Sequence[Outcome], *, check: bool) -> str:
    """Return the numbers of hosts and changes, and the names of failed hosts."""
    failed = [outcome.machine.name for outcome in outcomes if outcome.failed]
    changed = sum(1 for outcome in outcomes if outcome.changed and not outcome.failed)
    parts = [f"{changed} {'would change' if check else 'changed'}"]
    parts.append(f"{len(outcomes) - changed - len(failed)} unchanged")
    parts.append(f"{len(failed)} failed: {', '.join(failed)}" if failed else "none failed")
    return f"{counted(len(outcomes), 'host')}: {', '.join(parts)}"
