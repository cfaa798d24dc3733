"""An output in the registry is offered by every command that holds a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner

from amoc_gevent.cli import outputs
from amoc_gevent.cli.outputs import output_options
from amoc_gevent.errors import UsageError
from amoc_gevent.output.base import Output
from amoc_gevent.output.kinds import OUTPUTS
from amoc_gevent.output.option_types import Chosen, Option, OutputKind


@dataclass(frozen=True)
class ChosenFile:
    """An output that an option named."""

    path: str
    every: float
    file: str = ""

    def arguments(self) -> list[str]:
        return ["--file", self.path, "--file-every", f"{self.every}s"]

    def open(self, say: Callable[[str], None]) -> Output:
        return Output()


def choose(given: Mapping[str, object]) -> ChosenFile | None:
    path, every = given["file"], given["file_every"]
    assert isinstance(every, float)
    return ChosenFile(str(path), every) if path else None


FILE = OutputKind(
    (
        Option("--file", metavar="FILE", help="Write there."),
        Option("--file-every", unit="time", default=1.0, help="How often."),
    ),
    choose,
)


def chosen(*arguments: str) -> Mapping[str, Chosen]:
    """Return the outputs that a command gets which is called with these arguments."""
    found: dict[str, Chosen] = {}

    @click.command()
    @output_options
    def command(outputs: Mapping[str, Chosen]) -> None:
        found.update(outputs)

    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found


def test_a_new_output_has_its_options_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "OUTPUTS", {**OUTPUTS, "file": FILE})
    assert chosen() == {}
    assert chosen("--file", "x.csv") == {"file": ChosenFile("x.csv", 1.0)}
    both = chosen("--file", "x.csv", "--file-every", "2m", "--graphite", "g:2003")
    assert [*both] == ["graphite", "file"]
    assert both["file"] == ChosenFile("x.csv", 120.0)


def test_the_arguments_of_a_chosen_output_choose_it_again() -> None:
    for given in (
        ["--graphite", "g"],
        ["--graphite", "[::1]:99", "--graphite-prefix", "a.b", "--graphite-interval", "60s"],
        ["--graphite", "g", "--graphite-events", "none"],
        ["--graphite", "g", "--graphite-events", "http://u:p@w:8000/events/"],
    ):
        found = chosen(*given)
        assert chosen(*found["graphite"].arguments()) == found


def test_bad_values_are_wrong_usage() -> None:
    with pytest.raises(UsageError, match="need --graphite HOST:PORT"):
        chosen("--graphite-prefix", "a")
