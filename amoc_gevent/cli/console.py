"""`amoc console`: a prompt on a local run, for trying out a scenario."""

import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import click

from amoc_gevent import clock
from amoc_gevent.cli.options import WORKERS, core_count
from amoc_gevent.cli.steering.prompt import EndedBySignal, steer
from amoc_gevent.control.client import Control
from amoc_gevent.daemon.child import command_line, environment
from amoc_gevent.daemon.logs import log_level
from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED, AmocError
from amoc_gevent.socket_paths import socket_parent

START_S = 15.0
POLL_S = 0.02


@click.command()
@WORKERS
def console(workers: int | None) -> int:
    """Control a local run from a prompt: do, add, remove, status, set, stop.

    The scenario's log and output appear above the prompt. Ctrl-D stops the run and leaves the
    prompt. Commands can be piped in; the exit code is 1 if one of them failed.
    """
    log_level("WARNING")  # checked here: the engine would not start
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="amoc-console-", dir=socket_parent())
        control = Control(Path(stack.enter_context(made)) / "control")
        engine = _start_engine(control.path, workers or core_count())
        stack.callback(_end_engine, engine)
        _wait_until_it_answers(control, engine)
        threading.Thread(target=_show_output, args=(engine,), daemon=True).start()
        interactive = sys.stdin.isatty()
        good = steer(control)
        return EXIT_FINISHED if good or interactive else EXIT_FAILED


def _leave(number: int, _frame: object) -> None:
    """End as at the end of input: the run stops, and nothing is left behind."""
    raise EndedBySignal(128 + number)


def _start_engine(path: Path, workers: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603  # our own interpreter and arguments
        command_line("console-engine", str(path), str(workers)),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _end_engine(engine: "subprocess.Popen[str]") -> None:
    """Let the engine stop its run gently, and wait for it."""
    if engine.stdin is not None:
        engine.stdin.close()
    engine.wait()


def _wait_until_it_answers(control: Control, engine: "subprocess.Popen[str]") -> None:
    deadline = clock.monotonic() + START_S
    while True:
        try:
            control.answer({"command": "status"})
        except AmocError:
            if engine.poll() is not None or clock.monotonic() > deadline:
                raise
        else:
            return
        threading.Event().wait(POLL_S)


def _show_output(engine: "subprocess.Popen[str]") -> None:
    """Print the output of the engine and its workers; the prompt keeps its own line."""
    if engine.stdout is not None:
        for line in engine.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
