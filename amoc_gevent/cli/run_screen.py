"""The standard output of `amoc run`: the run as it goes on, its workers' lines and its report."""

import shutil
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TextIO, TypeVar, cast

import click
import gevent
from gevent import get_hub
from rich.console import Console, ConsoleDimensions

from amoc_gevent import clock
from amoc_gevent.cli.main import discard
from amoc_gevent.control.local import LocalCluster
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.units import counted
from amoc_gevent.output.feed import RunFeed
from amoc_gevent.output.terminal.lines import Lines
from amoc_gevent.output.terminal.report import print_summary
from amoc_gevent.output.terminal.table import LiveTable

T = TypeVar("T")

LINES_MAX = 1000
"""The most lines of workers that wait for an output that does not take them."""


class RunView(Protocol):
    """A view of a run that is updated once a second."""

    def update(self, run: Run, now: float) -> None:
        """Show the run at `now`, in seconds of the master's steady clock."""


class RunScreen:
    """Shows one run on standard output, unless it is quiet.

    If the pipe or the terminal is closed, the run goes on as with --quiet, and `lost` is true. It
    also goes on while a terminal is paused (Ctrl-S) or nobody reads a pipe.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.lost = sys.__stdout__ is None  # it was closed before the process started
        self._quiet = quiet or self.lost
        self._output, self._errors = map(_in_threads, (sys.stdout, sys.stderr))
        self._console = _console(self._output)
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._printing: gevent.Greenlet[..., None] | None = None

    def print_line(self, line: str) -> None:
        """Print a worker's line soon: on a terminal above the live table, else on standard error.

        The worker does not wait. While LINES_MAX lines wait, others are dropped and counted.
        """
        if len(self._lines) >= LINES_MAX:
            self._dropped += 1
            return
        self._lines.append(line)
        if self._printing is None or self._printing.ready():
            self._printing = gevent.spawn(self._print_lines)

    def _print_lines(self) -> None:
        with suppress(OSError):  # it was closed
            while self._lines:
                line = self._lines.popleft()
                if self._console.is_terminal:
                    self._console.print(line, markup=False, highlight=False)
                else:
                    self._errors.write(line + "\n")
                    self._errors.flush()
                if self._dropped and not self._lines:
                    lost = counted(self._dropped, "line")
                    self._lines.append(f"amoc: {lost} of workers left out: nobody read the output")
                    self._dropped = 0

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
        if self._printing is not None:
            self._printing.join()
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
            _update_each_second(feed, run, Lines(self._output))

    def _lose(self, error: OSError) -> None:
        """Write no more to an output that was closed: a pipe, or with a terminal both outputs."""
        self.lost = self._quiet = True
        streams = (sys.stdout,) if isinstance(error, BrokenPipeError) else (sys.stdout, sys.stderr)
        for stream in streams:
            if stream is not None:
                discard(stream)


class _ThreadedStream:
    """A text stream that is written in a thread, so that only the writing greenlet waits for it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`."""
        return _in_a_thread(self._stream.write, text) or 0

    def flush(self) -> None:
        """Write what is buffered."""
        _in_a_thread(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _in_a_thread(function: Callable[..., T], *args: object) -> T | None:
    """Call `function` in a thread of the hub's pool, and raise its OSError here.

    The pool prints an exception that it gets.
    """

    def call() -> T | OSError:
        try:
            return function(*args)
        except OSError as error:
            return error

    found = get_hub().threadpool.apply(call)
    if isinstance(found, OSError):
        raise found
    return found


def _in_threads(stream: TextIO | None) -> TextIO:
    return cast("TextIO", _ThreadedStream(cast("TextIO", stream)))


def _console(output: TextIO) -> Console:
    """Return an output as a console. With COLUMNS=0 its size is the terminal's own."""
    console = Console(file=output)
    if not (console.width and console.height):
        console.size = ConsoleDimensions(*shutil.get_terminal_size())
    return console


def _update_each_second(feed: RunFeed, run: Run, view: RunView) -> None:
    for _ in feed.each_second(run):
        view.update(run, clock.steady())
