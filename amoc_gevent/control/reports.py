"""Turns a run into the answer to `summary`: typed, or text as wide as the client's terminal."""

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
"""Minimum, maximum and default of each size."""


def answer_to(command: Summary, run: Run) -> SummaryAnswer | TextReport:
    """Return the answer to `summary` for `run`. Raises UsageError for an unknown form."""
    if one_of("summary", command.form, ("json", "text")) == "json":
        return SummaryAnswer(summary_of(run))
    console = buffer_console(within("width", command.width), coloured=command.colour)
    print_summary(run, console)
    return TextReport(buffered_text(console))


def one_of(verb: str, form: object, known: tuple[str, ...]) -> str:
    """Return `form` if it is one of `known`. Raises UsageError otherwise."""
    if not isinstance(form, str) or form not in known:
        raise UsageError(f"{verb}: form must be one of: {', '.join(known)}")
    return form


def within(name: str, value: object) -> int:
    """Return the width or height `value`, limited to the allowed range."""
    least, most, usual = SIZES[name]
    return max(least, min(most, value)) if isinstance(value, int) else usual


def buffer_console(width: int, *, coloured: bool) -> Console:
    """Return a console that buffers its output, as wide as the client's."""
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=coloured,
        color_system="standard" if coloured else None,
        no_color=not coloured,
        legacy_windows=False,
    )


def buffered_text(console: Console) -> str:
    """Return the buffered text of a console."""
    assert isinstance(console.file, io.StringIO)  # noqa: S101  # buffer_console made it
    return console.file.getvalue()
