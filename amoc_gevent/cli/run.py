"""`amoc run`: runs a scenario on this machine, and shows the run and its report."""

import logging
import signal
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import click
import gevent

from amoc_gevent.cli.options import SET, WORKERS, core_count
from amoc_gevent.cli.outputs import output_options
from amoc_gevent.cli.params import (
    DURATION,
    RATE,
    TEXT,
    USER_ID,
    ids_of,
    pairs,
    run_options,
    users_option,
)
from amoc_gevent.cli.run_screen import RunScreen
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
from amoc_gevent.output.option_types import Chosen
from amoc_gevent.output.summary import check_writable, write
from amoc_gevent.worker.health import descriptor_warning, raise_descriptor_limit

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(
    epilog="""\b
Times are written 500ms, 30s, 5m, 1h; rates 20/s, 1200/min.
Ctrl-C stops the run gently, a second Ctrl-C at once. If the output is
closed, the run continues as with --quiet, and the exit code is 1.

\b
Exit codes:
  0  finished
  1  the run failed
  2  wrong usage: a command, an option, a setting; nothing was started
  130  Ctrl-C before the run began"""
)
@click.argument("scenario")
@click.argument("first", type=USER_ID, required=False)
@click.argument("last", type=USER_ID, required=False)
@click.option("--duration", type=DURATION, help="End the load after this time.")
@click.option("--user-rate", type=RATE, help=RUN_OPTIONS["user_rate"].help)
@click.option("--interarrival", type=DURATION, help="Time between two starts, instead of a rate.")
@run_options("repeat_interval", "repeat_num", "on_user_error", "stop_timeout")
@WORKERS
@SET
@click.option("--comment", type=TEXT, default="", help="Comment in the summary.")
@click.option(
    "--summary",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Write the summary to this file, as JSON.",
)
@click.option("--quiet", is_flag=True, help="Show neither progress nor report.")
@output_options
def run(
    scenario: str,
    first: int | None,
    last: int | None,
    users: int | None,
    duration: float | None,
    user_rate: float | None,
    interarrival: float | None,
    workers: int | None,
    given: tuple[str, ...],
    comment: str,
    summary: Path | None,
    quiet: bool,
    outputs: Mapping[str, Chosen],
    **options: float | str,
) -> int:
    """Run SCENARIO for the users FIRST to LAST on this machine.

    SCENARIO is the name of a module in scenarios/, or a path. Each user calls the scenario's
    start() in its own greenlet, rests, and calls it again, until the run stops.
    """
    first, last = ids_of(first, last, users)
    if summary is not None:
        check_writable(summary)
    rate = _rate(user_rate, interarrival)
    workers = workers or core_count()
    command = Do(
        str(resolved(find(scenario))),
        first,
        last,
        settings=pairs(given),
        options=Options(user_rate=rate, **options),  # type: ignore[arg-type]  # click checked them
        duration=duration,
        comment=comment,
    )
    logging.basicConfig(level=log_level("ERROR"), format="amoc: %(message)s")
    screen = RunScreen(quiet=quiet)
    warning = descriptor_warning(last - first + 1, workers, raise_descriptor_limit())
    if warning is not None:
        click.echo(f"amoc: warning: {warning}", err=True)
    done = _run_to_its_end(command, workers, outputs, screen)
    if done is None:
        return EXIT_INTERRUPTED
    code = _conclude(done, screen, summary)
    return EXIT_FAILED if screen.lost else code


run.params.insert(3, users_option())


def _run_to_its_end(
    command: Do, workers: int, outputs: Mapping[str, Chosen], screen: RunScreen
) -> Run | None:
    """Carry out the run and return it; None if a signal came before it began."""
    signals = _StopSignals()
    store = opened_store(lambda line: click.echo(f"amoc: {line}", err=True))
    with LocalCluster(workers, screen.print_line, store) as cluster:
        master = cluster.master
        if signals.count:
            return None
        master.handle(command)
        signals.stop(master)
        run = master.run
        assert run is not None  # noqa: S101  # its `do` was just answered
        deliver = _open_outputs(outputs, cluster.feed, screen.print_line)
        screen.watch(cluster, run)
        signals.ignore()
        deliver()
    return run


def _open_outputs(
    outputs: Mapping[str, Chosen], feed: RunFeed, say: Callable[[str], None]
) -> Callable[[], None]:
    """Add the outputs to the feed; return a function that closes them after the run.

    `say` prints a line. Whatever a durable output could not deliver is stored for the next run: in
    Graphite an interval has one point, and two runs can share an interval.
    """
    kept: list[tuple[DurableOutput, Store]] = []
    for name, chosen in outputs.items():
        output = chosen.open(lambda line: say(f"amoc: {line}"))
        stored = None
        if isinstance(output, DurableOutput):
            with suppress(AmocError, sqlite3.Error):  # nowhere to store it; the run goes on without
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


def _rate(user_rate: float | None, interarrival: float | None) -> float:
    """Return the users per second from one of the two options."""
    if user_rate is not None and interarrival is not None:
        raise UsageError("--user-rate and --interarrival exclude each other: give one of them")
    if interarrival is not None:
        if interarrival <= 0:
            raise UsageError("--interarrival must be above zero")
        return 1 / interarrival
    return user_rate if user_rate is not None else Options().user_rate


class _StopSignals:
    """Stops the run at a signal: gently at the first one, by force at the second.

    `count` is how many signals have come.
    """

    def __init__(self) -> None:
        self.count = 0
        self._master: Master | None = None
        for number in STOP_SIGNALS:
            gevent.signal_handler(number, self._on_signal)

    def stop(self, master: Master) -> None:
        """Stop this master's run at a signal, also at one that came while the run began."""
        self._master = master
        if self.count:
            self._stop()

    def ignore(self) -> None:
        """Ignore signals from now on: the run is over, and its report must not be interrupted."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self) -> None:
        self.count += 1
        self._stop()

    def _stop(self) -> None:
        if self._master is not None and self._master.run is not None and self._master.run.active:
            self._master.handle(Stop(force=self.count > 1))


def _conclude(done: Run, screen: RunScreen, summary: Path | None) -> int:
    """Write the summary, print the report and return the exit code."""
    failure = done.failure
    if failure is not None and failure.usage:
        raise UsageError(failure.message)
    unwritten = _write_summary(done, summary)
    printed = screen.print_report(done)
    if unwritten is not None:
        click.echo(f"amoc: {unwritten}", err=True)
    if not printed:
        return EXIT_FAILED
    if failure is not None:
        raise ScenarioError(failure.message, failure.detail)
    if done.status != "finished" or unwritten is not None:
        return EXIT_FAILED
    return EXIT_FINISHED


def _write_summary(done: Run, summary: Path | None) -> AmocError | None:
    """Write the summary, if asked for. Return the error, which is printed after the report."""
    try:
        if summary is not None:
            write(done, summary)
    except AmocError as error:
        return error
    return None
