"""`amoc run`: a run on this machine, watched until its end, with its summary."""

import logging
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import click
import gevent
from rich.console import Console, ConsoleDimensions

from amoc_gevent import clock
from amoc_gevent.cli.outputs import output_options
from amoc_gevent.cli.params import DURATION, RATE, TEXT, pairs, run_options
from amoc_gevent.control.local import LocalCluster, opened_store
from amoc_gevent.core.output_state import DurableOutput
from amoc_gevent.core.run.commands import Do, Stop
from amoc_gevent.core.run.options import RUN_OPTIONS
from amoc_gevent.core.run.plan import Options
from amoc_gevent.core.run.run import Run
from amoc_gevent.daemon.home import Home
from amoc_gevent.daemon.logs import log_level
from amoc_gevent.errors import (
    EXIT_FAILED,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    AmocError,
    ScenarioError,
    UsageError,
)
from amoc_gevent.loading.catalogue import find
from amoc_gevent.loading.places import resolved
from amoc_gevent.master.master import Master
from amoc_gevent.master.store import Store
from amoc_gevent.output.feed import RunFeed
from amoc_gevent.output.kinds import Chosen
from amoc_gevent.output.summary import check_writable, write
from amoc_gevent.output.terminal.lines import Lines
from amoc_gevent.output.terminal.report import print_summary
from amoc_gevent.output.terminal.table import LiveTable
from amoc_gevent.worker.health import descriptor_warning, raise_descriptor_limit

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class View(Protocol):
    """What shows a run while it goes on."""

    def update(self, run: Run, now: float) -> None:
        """Show the run as it stands at `now`, the master's time."""


@click.command(
    epilog="""\b
Times are written 500ms, 30s, 5m, 1h; rates 20/s, 1200/min.
Ctrl-C stops gently, a second one at once. When what reads the output
goes away, the run goes on as with --quiet and the exit code is 1.

\b
Exit codes:
  0  finished
  1  the run failed
  2  wrong usage: a command, an option, a setting; nothing was started
  130  Ctrl-C came before the run began"""
)
@click.argument("scenario")
@click.argument("first", type=click.IntRange(min=1))
@click.argument("last", type=click.IntRange(min=1))
@click.option("--duration", type=DURATION, help="End gently after this time.")
@click.option("--user-rate", type=RATE, help=RUN_OPTIONS["user_rate"].help)
@click.option("--interarrival", type=DURATION, help="Time between two starts, instead of a rate.")
@run_options("repeat_interval", "repeat_num", "on_user_error", "stop_timeout")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes [one a core].")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a setting.")
@click.option("--comment", type=TEXT, default="", help="Goes into the summary.")
@click.option(
    "--summary", type=click.Path(path_type=Path), metavar="FILE.json", help="Write the summary."
)
@click.option("--quiet", is_flag=True, help="Show nothing while it runs, nor at the end.")
@output_options
def run(
    scenario: str,
    first: int,
    last: int,
    duration: float | None,
    user_rate: float | None,
    interarrival: float | None,
    workers: int | None,
    settings: tuple[str, ...],
    comment: str,
    summary: Path | None,
    quiet: bool,
    outputs: Mapping[str, Chosen],
    **options: float | str,
) -> int:
    """Load a service: run SCENARIO for the users FIRST to LAST on this machine.

    SCENARIO is the name of a module in scenarios/, or a path. Each user calls its start() in a
    greenlet of its own, rests, and calls it again, until the run is stopped.
    """
    if last < first:
        raise UsageError(f"users {first} to {last}: the lowest id comes first")
    if summary is not None:
        check_writable(summary)
    rate = _rate(user_rate, interarrival)
    workers = workers or len(os.sched_getaffinity(0))
    command = Do(
        str(resolved(find(scenario))),
        first,
        last,
        settings=pairs(settings),
        options=Options(user_rate=rate, **options),  # type: ignore[arg-type]  # click checked them
        duration=duration,
        comment=comment,
    )
    logging.basicConfig(level=log_level("ERROR"), format="amoc: %(message)s")
    console = _output()
    warning = descriptor_warning(last - first + 1, workers, raise_descriptor_limit())
    if warning is not None:
        click.echo(f"amoc: warning: {warning}", err=True)
    lost = sys.__stdout__ is None  # it was closed before we began
    quiet = quiet or lost
    signals = _Signals()
    store = opened_store(lambda line: click.echo(f"amoc: {line}", err=True))
    with LocalCluster(workers, _printer(console), store) as cluster:
        master = cluster.master
        if signals.came:
            return EXIT_INTERRUPTED
        master.handle(command)
        signals.stop(master)
        watched = master.run
        assert watched is not None  # noqa: S101  # its `do` was just answered
        deliver = _followed(outputs, cluster.feed, _printer(console))
        try:
            _watch(cluster, watched, console, quiet=quiet)
        except OSError as error:  # the pipe or the terminal was closed: go on as --quiet
            _mute(error)
            lost = quiet = True
            master.ended.wait()
        for number in STOP_SIGNALS:  # the run is over: nothing may keep it from being reported
            signal.signal(number, signal.SIG_IGN)
        deliver()
    code = _conclude(watched, console, summary, quiet=quiet)
    return EXIT_FAILED if lost else code


def _output() -> Console:
    """Return standard output; COLUMNS=0 says as little of its size as nonsense does."""
    console = Console()
    if not (console.width and console.height):
        console.size = ConsoleDimensions(*shutil.get_terminal_size())
    return console


def _followed(
    outputs: Mapping[str, Chosen], feed: RunFeed, say: Callable[[str], None]
) -> Callable[[], None]:
    """Tell the outputs of the run, and return what has them deliver the rest.

    `say` prints a line. What a durable output may not have delivered is kept for the next run: in
    Graphite an interval has one point, and two runs can share an interval.
    """
    kept: list[tuple[DurableOutput, Store]] = []
    for name, chosen in outputs.items():
        output = chosen.open(lambda line: say(f"amoc: {line}"))
        stored = None
        if isinstance(output, DurableOutput):
            with suppress(AmocError, sqlite3.Error):  # no place to keep it: the run is what counts
                store = Store(Home.current().make().path / chosen.file)
                stored = store.pending()
                kept.append((output, store))
        feed.add(output, name, stored)

    def deliver() -> None:
        feed.close()
        for output, store in kept:
            with store, suppress(sqlite3.Error, OSError, AmocError):
                store.save_nodes((), output.pending())

    return deliver


def _mute(error: OSError) -> None:
    """Write no more to what was closed: a pipe, or with a terminal both outputs."""
    streams = (sys.stdout,) if isinstance(error, BrokenPipeError) else (sys.stdout, sys.stderr)
    for stream in streams:
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _rate(user_rate: float | None, interarrival: float | None) -> float:
    """Return users a second from whichever of the two options was given."""
    if user_rate is not None and interarrival is not None:
        raise UsageError("--user-rate and --interarrival say the same: give one of them")
    if interarrival is not None:
        if interarrival <= 0:
            raise UsageError("--interarrival: the time between two starts must be above zero")
        return 1 / interarrival
    return user_rate if user_rate is not None else Options().user_rate


def _printer(console: Console) -> Callable[[str], None]:
    """Return what prints a worker's line: above the live table, on a terminal."""

    def on_output(line: str) -> None:
        with suppress(OSError):  # a terminal that was closed; the worker's pipe is read on
            if console.is_terminal:
                console.print(line, markup=False, highlight=False)
            else:
                click.echo(line, err=True)

    return on_output


class _Signals:
    """Counts the signals that `came`; the first stops the run gently, the second one by force."""

    def __init__(self) -> None:
        self.came = 0
        self._master: Master | None = None
        for number in STOP_SIGNALS:
            gevent.signal_handler(number, self._on_signal)

    def stop(self, master: Master) -> None:
        """Have them stop this master's run, those too that came while it began."""
        self._master = master
        if self.came:
            self._stop()

    def _on_signal(self) -> None:
        self.came += 1
        self._stop()

    def _stop(self) -> None:
        if self._master is not None and self._master.run is not None and self._master.run.active:
            self._master.handle(Stop(force=self.came > 1))


def _watch(cluster: LocalCluster, watched: Run, console: Console, *, quiet: bool) -> None:
    """Show the run once a second until it has ended."""
    if quiet:
        cluster.master.ended.wait()
    elif console.is_terminal and not console.is_dumb_terminal:
        with LiveTable(console) as table:
            _update_each_second(cluster.feed, watched, table)
    else:
        _update_each_second(cluster.feed, watched, Lines(sys.stdout))


def _update_each_second(feed: RunFeed, watched: Run, view: View) -> None:
    for _ in feed.each_second(watched):
        view.update(watched, clock.steady())


def _conclude(done: Run, console: Console, summary: Path | None, *, quiet: bool) -> int:
    """Write the summary, say what is to be said and return the exit code."""
    failure = done.failure
    if failure is not None and failure.usage:
        raise UsageError(failure.message)
    unwritten = _unwritten(done, summary)
    lost = False
    if not quiet and (done.started_at or failure is None):
        try:
            if done.started_at:
                print_summary(done, console)
            else:
                click.echo("stopped before any user started")
        except OSError as error:
            _mute(error)
            lost = True
    if unwritten is not None:
        click.echo(f"amoc: {unwritten}", err=True)
    if lost:
        return EXIT_FAILED
    if failure is not None:
        raise ScenarioError(failure.message, failure.detail)
    return EXIT_FINISHED if done.status == "finished" and unwritten is None else EXIT_FAILED


def _unwritten(done: Run, summary: Path | None) -> AmocError | None:
    """Write the summary, if one was asked for; return why it cannot be, for after the report."""
    try:
        if summary is not None:
            write(done, summary)
    except AmocError as error:
        return error
    return None
