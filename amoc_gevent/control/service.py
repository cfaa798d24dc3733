"""What a master answers at its control socket: its commands, and views of its runs for people.

The engine knows no output, so whoever puts the two together renders here.
"""

import io
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from rich.console import Console
from rich.text import Text

from amoc_gevent import clock
from amoc_gevent.control.requests import command_of
from amoc_gevent.control.server import Service
from amoc_gevent.core.run.commands import Command, Runs, Status, Summary
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.master.master import Master
from amoc_gevent.output.feed import RunFeed
from amoc_gevent.output.summary import summary
from amoc_gevent.output.terminal.lines import Lines
from amoc_gevent.output.terminal.report import print_summary
from amoc_gevent.output.terminal.table import table_lines

log = logging.getLogger(__name__)

SIZES = {"width": (20, 1000, 100), "height": (5, 1000, 24)}
"""The least, the most and what is taken where a request does not say."""


class MasterService:
    """The requests that `master` answers; views of its runs are renewed by `feed`."""

    def __init__(self, master: Master, feed: RunFeed) -> None:
        self._master = master
        self._feed = feed
        self.services: dict[str, Service] = {"watch": self._watch, "summary": self._summary}

    def handle(self, command: Command) -> dict[str, object]:
        """Carry out one command; one that is refused is a line of the log."""
        try:
            return self._master.handle(command)
        except AmocError as error:
            log.info("%s: refused: %s", type(command).__name__.lower(), error)
            raise

    def _summary(self, request: Mapping[str, Any]) -> dict[str, object]:
        """Answer `{"summary": {...}}`, or `{"report": "..."}` where `form` is text."""
        command = command_of(request)
        assert isinstance(command, Summary)  # noqa: S101  # the name of the request
        form = _form(request, ("json", "text"))
        found = self._find_run(command.run)
        if form == "json":
            return {"summary": summary(found)}
        paper = _paper(request)
        print_summary(found, paper)
        return {"report": _taken(paper)}

    def _find_run(self, run: str) -> Run:
        """Return the run of that name, or the latest. A name that is none is a wrong use."""
        try:
            return self._master.find_run(run)
        except AmocError as error:
            listed = cast("list[dict[str, Any]]", self._master.handle(Runs())["runs"])
            if run and all(one["run"] != run for one in listed):
                raise UsageError(f"there is no run {run}; `runs` lists them") from error
            raise

    def _watch(self, request: Mapping[str, Any]) -> Iterator[dict[str, object]]:
        """Answer once a second until the run has ended, as JSON, as a table or in lines."""
        form = _form(request, ("json", "table", "lines"))
        run = self._master.run
        if run is None or not run.active:
            raise AmocError("there is no run to watch: start one with `do SCENARIO FIRST LAST`")
        views: dict[str, Callable[[], dict[str, object]]] = {
            "json": lambda: {"status": self._master.handle(Status())},
            "table": lambda: {"lines": _table(run, request)},
            "lines": _Lines(run).take,
        }
        return self._each_second(run, views[form])

    def _each_second(
        self, run: Run, view: Callable[[], dict[str, object]]
    ) -> Iterator[dict[str, object]]:
        """Yield what `view` returns right after each second, and once more at the run's end."""
        for _ in self._feed.each_second(run):
            ended = {} if run.active else {"run": run.id, "ended": run.status}
            yield {**view(), **ended}


class _Lines:
    """What `amoc run` writes where there is no terminal, taken in parts."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._written = io.StringIO()
        self._lines = Lines(self._written)

    def take(self) -> dict[str, object]:
        """Return the lines that came since the last time."""
        self._lines.update(self._run, clock.steady())
        text = self._written.getvalue()
        self._written.seek(0)
        self._written.truncate()
        return {"lines": text.splitlines()}


def _form(request: Mapping[str, Any], known: tuple[str, ...]) -> str:
    form = request.get("form", known[0])
    if not isinstance(form, str) or form not in known:
        raise UsageError(f"{request['command']}: form must be one of: {', '.join(known)}")
    return form


def _size(request: Mapping[str, Any], name: str) -> int:
    """Return a width or height within reason, whatever was asked for."""
    least, most, usual = SIZES[name]
    value = request.get(name, usual)
    return max(least, min(most, value)) if isinstance(value, int) else usual


def _paper(request: Mapping[str, Any]) -> Console:
    """Return a console that keeps what is printed on it, as wide as the client's."""
    coloured = request.get("colour") is True
    return Console(
        file=io.StringIO(),
        width=_size(request, "width"),
        force_terminal=coloured,
        color_system="standard" if coloured else None,
        no_color=not coloured,
        legacy_windows=False,
    )


def _taken(paper: Console) -> str:
    assert isinstance(paper.file, io.StringIO)  # noqa: S101  # _paper made it
    return paper.file.getvalue()


def _table(run: Run, request: Mapping[str, Any]) -> list[str]:
    """Return the live table as lines for the client's terminal."""
    width, height = _size(request, "width"), _size(request, "height")
    lines: list[Text] = table_lines(run, clock.steady(), width, height)
    paper = _paper(request)
    for line in lines:
        paper.print(line, soft_wrap=True, highlight=False)
    return _taken(paper).split("\n")[:-1]
