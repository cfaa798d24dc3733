"""Runs as answers to `summary`: typed, or printed on paper as wide as the client's terminal."""

import io

from rich.console import Console

from amoc_gevent.core.answers import TextReport
from amoc_gevent.core.run.commands import Summary
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.run_summary import SummaryAnswer
from amoc_gevent.errors import UsageError
from amoc_gevent.output.summary import summary_of
from amoc_gevent.output.terminal.report import print_summary

SIZES = {"width": (20, 1000, 100), "height": (5, 1000, 24)}
"""The least, the most and what is taken where a request does not say."""


def answer_to(command: Summary, run: Run) -> SummaryAnswer | TextReport:
    """Return the answer to `summary`, made of the run that it found. Raises UsageError."""
    if one_of("summary", command.form, ("json", "text")) == "json":
        return SummaryAnswer(summary_of(run))
    paper = paper_of(within("width", command.width), coloured=command.colour)
    print_summary(run, paper)
    return TextReport(taken(paper))


def one_of(verb: str, form: object, known: tuple[str, ...]) -> str:
    """Return a form that is among those known. Raises UsageError."""
    if not isinstance(form, str) or form not in known:
        raise UsageError(f"{verb}: form must be one of: {', '.join(known)}")
    return form


def within(name: str, value: object) -> int:
    """Return a width or height within reason, whatever was asked for."""
    least, most, usual = SIZES[name]
    return max(least, min(most, value)) if isinstance(value, int) else usual


def paper_of(width: int, *, coloured: bool) -> Console:
    """Return a console that keeps what is printed on it, as wide as the client's."""
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=coloured,
        color_system="standard" if coloured else None,
        no_color=not coloured,
        legacy_windows=False,
    )


def taken(paper: Console) -> str:
    """Return what was printed on it."""
    assert isinstance(paper.file, io.StringIO)  # noqa: S101  # paper_of made it
    return paper.file.getvalue()
