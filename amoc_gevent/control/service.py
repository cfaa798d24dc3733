"""Answers requests at a master's control socket: commands, and rendered views of runs.

The master knows no outputs, so the rendering is done here, where both are available.
"""

import io
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from rich.text import Text

from amoc_gevent import clock
from amoc_gevent.control.reports import (
    SIZES,
    answer_to,
    buffer_console,
    buffered_text,
    one_of,
    within,
)
from amoc_gevent.control.server import Service
from amoc_gevent.core.answers import (
    Answer,
    RunList,
    RunStatus,
    WatchedLines,
    WatchedStatus,
)
from amoc_gevent.core.run.commands import Command, Runs, Status, Summary
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.master.master import Master
from amoc_gevent.output.feed import RunFeed
from amoc_gevent.output.terminal.lines import Lines
from amoc_gevent.output.terminal.table import table_lines

Watched = WatchedStatus | WatchedLines

log = logging.getLogger(__name__)


class MasterService:
    """Answers requests for `master`; `feed` triggers each update of a watched view."""

    def __init__(self, master: Master, feed: RunFeed) -> None:
        self._master = master
        self._feed = feed
        self.services: dict[str, Service] = {"watch": self._watch}

    def handle(self, command: Command) -> Answer:
        """Carry out a command. Log a refusal before raising it."""
        try:
            if isinstance(command, Summary):
                return answer_to(command, self._find_run(command.run))
            return self._master.handle(command)
        except AmocError as error:
            log.info("%s: refused: %s", type(command).__name__.lower(), error)
            raise

    def _find_run(self, run: str) -> Run:
        """Return the run of that id, or the latest. Raises UsageError for an unknown id."""
        try:
            return self._master.find_run(run)
        except AmocError as error:
            listed = self._master.handle(Runs())
            assert isinstance(listed, RunList)  # noqa: S101  # it answers `runs`
            if run and all(one.run != run for one in listed.runs):
                raise UsageError(f"there is no run {run}; `runs` lists them") from error
            raise

    def _watch(self, request: Mapping[str, Any]) -> Iterator[Watched]:
        """Yield a view each second until the run has ended, as JSON, a table or lines."""
        form = one_of("watch", request.get("form", "json"), ("json", "table", "lines"))
        run = self._master.run
        if run is None or not run.active:
            raise AmocError("there is no run to watch: start one with `do SCENARIO FIRST LAST`")
        views: dict[str, Callable[[], Watched]] = {
            "json": self._status,
            "table": lambda: WatchedLines(_table(run, request)),
            "lines": _Lines(run).take,
        }
        return self._each_second(run, views[form])

    def _status(self) -> WatchedStatus:
        status = self._master.handle(Status())
        assert isinstance(status, RunStatus)  # noqa: S101  # there is a run
        return WatchedStatus(status)

    def _each_second(self, run: Run, view: Callable[[], Watched]) -> Iterator[Watched]:
        """Yield `view()` right after each second, and once more at the end of the run."""
        for _ in self._feed.each_second(run):
            yield view() if run.active else replace(view(), run=run.id, ended=run.status)


class _Lines:
    """The lines that `amoc run` writes without a terminal, taken in parts."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._written = io.StringIO()
        self._lines = Lines(self._written)

    def take(self) -> WatchedLines:
        """Return the lines written since the last call."""
        self._lines.update(self._run, clock.steady())
        text = self._written.getvalue()
        self._written.seek(0)
        self._written.truncate()
        return WatchedLines(tuple(text.splitlines()))


def _table(run: Run, request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the live table as lines for the client's terminal."""
    width, height = (within(name, request.get(name)) for name in SIZES)
    lines: list[Text] = table_lines(run, clock.steady(), width, height)
    console = buffer_console(width, coloured=request.get("colour") is True)
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    return tuple(buffered_text(console).split("\n")[:-1])
