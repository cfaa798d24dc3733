"""The standard output of `amoc run`: the run as it goes on, its workers' lines and its report."""

import shutil
import sys
from contextlib import suppress
from typing import Protocol

import click
from rich.console import Console, ConsoleDimensions

from amoc_gevent import clock
from amoc_gevent.cli.main import discard
from amoc_gevent.control.local import LocalCluster
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.feed import RunFeed
from amoc_gevent.output.terminal.lines import Lines
from amoc_gevent.output.terminal.report import print_summary
from amoc_gevent.output.terminal.table import LiveTable


class RunView(Protocol):
    """A view of a run that is updated once a second."""

    def update(self, run: Run, now: float) -> None:
        """Show the run at `now`, in seconds of the master's steady clock."""


class RunScreen:
    """Shows one run on standard output, unless it is quiet.

    If the pipe or the terminal is closed, the run goes on as with --quiet, and `lost` is true.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.lost = sys.__stdout__ is None  # it was closed before the process started
        self._quiet = quiet or self.lost
        self._console = _console()

    def print_line(self, line: str) -> None:
        """Print a worker's line: on a terminal above the live table, else on standard error."""
        with suppress(OSError):  # the terminal was closed; the worker's pipe must still be read
            if self._console.is_terminal:
                self._console.print(line, markup=False, highlight=False)
            else:
                click.echo(line, err=True)

    def watch(self, cluster: LocalCluster, run: Run) -> None:
        """Show the run once a second until it has ended."""
        if not self._quiet:
            try:
                self._show(cluster.feed, run)
            except OSError as error:
                self._lose(error)
        if self._quiet:
            cluster.master.ended.wait()

    def print_report(self, done: Run) -> bool:
        """Print the closing report of a run; return False if the output was closed meanwhile.

        A run that failed before it started has none.
        """
        if self._quiet or not (done.started_at or done.failure is None):
            return True
        try:
            if done.started_at:
                print_summary(done, self._console)
            else:
                click.echo("stopped before any user started")
        except OSError as error:
            self._lose(error)
            return False
        return True

    def _show(self, feed: RunFeed, run: Run) -> None:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            with LiveTable(self._console) as table:
                _update_each_second(feed, run, table)
        else:
            _update_each_second(feed, run, Lines(sys.stdout))

    def _lose(self, error: OSError) -> None:
        """Write no more to an output that was closed: a pipe, or with a terminal both outputs."""
        self.lost = self._quiet = True
        streams = (sys.stdout,) if isinstance(error, BrokenPipeError) else (sys.stdout, sys.stderr)
        for stream in streams:
            if stream is not None:
                discard(stream)


def _console() -> Console:
    """Return standard output as a console. With COLUMNS=0 its size is the terminal's own."""
    console = Console()
    if not (console.width and console.height):
        console.size = ConsoleDimensions(*shutil.get_terminal_size())
    return console


def _update_each_second(feed: RunFeed, run: Run, view: RunView) -> None:
    for _ in feed.each_second(run):
        view.update(run, clock.steady())
