"""`amoc console`: a prompt on a local run, for trying out a scenario."""

import os
import signal
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from amoc_gevent import clock
from amoc_gevent.cli.client import ControlClient
from amoc_gevent.cli.verbs import flags_of, request_of, verbs
from amoc_gevent.engine.catalogue import listing
from amoc_gevent.engine.child import command_line, environment
from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED, AmocError

START_S = 15.0
POLL_S = 0.02
LEAVE = {"exit", "quit"}


@click.command()
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes [one a core].")
def console(workers: int | None) -> int:
    """Steer a local run from a prompt: do, add, remove, status, set, stop.

    What the scenario logs and prints appears above the prompt. Ctrl-D ends the run and leaves.
    Lines can be piped in; the exit code is then 1 if one of them failed.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amoc-console-")))
        path = directory / "control"
        engine = _start_engine(path, workers or len(os.sched_getaffinity(0)))
        stack.callback(_end_engine, engine)
        client = stack.enter_context(_connect(path, engine))
        interactive = sys.stdin.isatty()
        threading.Thread(target=_show_output, args=(engine,), daemon=True).start()
        lines = _prompted() if interactive else (line.strip() for line in sys.stdin)
        failed = _carry_out(lines, client)
        return EXIT_FAILED if failed and not interactive else EXIT_FINISHED


def _leave(number: int, _frame: object) -> None:
    """End as at the end of input, so that the run ends and nothing is left behind."""
    sys.exit(128 + number)


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
    """Let the engine end its run gently, and wait for it."""
    if engine.stdin is not None:
        engine.stdin.close()
    engine.wait()


def _connect(path: Path, engine: "subprocess.Popen[str]") -> ControlClient:
    deadline = clock.monotonic() + START_S
    while True:
        try:
            return ControlClient(path)
        except AmocError:
            if engine.poll() is not None or clock.monotonic() > deadline:
                raise
        threading.Event().wait(POLL_S)


def _show_output(engine: "subprocess.Popen[str]") -> None:
    """Print what the engine and its workers write; the prompt keeps its own line."""
    if engine.stdout is not None:
        for line in engine.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()


def _carry_out(lines: Iterable[str], client: ControlClient) -> bool:
    """Carry out each line and print its answer; return whether one failed."""
    failed = False
    for line in lines:
        if not line or line.startswith("#"):
            continue
        if line in LEAVE:
            break
        try:
            request = request_of(line)
            click.echo(request if isinstance(request, str) else _ask(client, request))
        except AmocError as error:
            failed = True
            click.echo(str(error), err=True)
    return failed


def _ask(client: ControlClient, request: dict[str, Any]) -> str:
    shown = _SHOWN.get(request["command"], _shown_plain)(client.ask(request))
    if request["command"] == "do":
        _wait_until_started(client)
    return shown


def _wait_until_started(client: ControlClient) -> None:
    """Return when the workers are ready, or raise what kept them from it; Ctrl-C waits no more."""
    try:
        while _is_undecided(status := client.ask({"command": "status"})):
            threading.Event().wait(POLL_S)
    except KeyboardInterrupt:
        return
    if status["failure"]:
        raise AmocError("\n".join(filter(None, (status["failure"], status["failure_detail"]))))


def _is_undecided(status: dict[str, Any]) -> bool:
    """Whether the run is starting, or failed and not at its end yet."""
    failing = status["status"] == "stopping" and bool(status["failure"])
    return failing or status["status"] == "starting"


def _shown_do(result: dict[str, Any]) -> str:
    return f"run {result['run']}: {result['users']} users"


def _shown_add(result: dict[str, Any]) -> str:
    return f"added users {result['first']} to {result['last']}"


def _shown_remove(result: dict[str, Any]) -> str:
    return f"removed {result['removed']} users"


def _shown_stop(result: dict[str, Any]) -> str:
    return f"run {result['run']} is {result['status']}" + (" by force" if result["force"] else "")


def _shown_plain(result: dict[str, Any]) -> str:
    return "\n".join(f"{name} = {value}" for name, value in result.items())


def _shown_status(result: dict[str, Any]) -> str:
    if result["status"] == "idle":
        return "idle: start a run with `do SCENARIO FIRST LAST`"
    users = ", ".join(f"{count} {state}" for state, count in result["users"].items())
    head = (
        f"{result['scenario']} {result['status']}, {result['elapsed_s']} s on {result['workers']}"
    )
    rows = [f"{head} workers; users: {users}", *_shown_operations(result["operations"])]
    rows += [
        f"failed users: {e['count']} times {e['type']} at {e['place']}" for e in result["errors"]
    ]
    if result["failure"]:
        rows.append(f"failed: {result['failure']}")
    return "\n".join(rows)


def _shown_operations(operations: dict[str, dict[str, Any]]) -> list[str]:
    if not operations:
        return []
    width = max(9, *map(len, operations))
    rows = [f"{'operation':<{width}} {'count':>9} {'errors':>7} {'p50 ms':>9} {'p95 ms':>9}"]
    for name, one in operations.items():
        times = f"{one['p50_us'] / 1000:>9.2f} {one['p95_us'] / 1000:>9.2f}"
        rows.append(f"{name:<{width}} {one['count']:>9} {one['errors']:>7} {times}")
    return rows


_SHOWN: dict[str, Callable[[dict[str, Any]], str]] = {
    "do": _shown_do,
    "add": _shown_add,
    "remove": _shown_remove,
    "stop": _shown_stop,
    "status": _shown_status,
}


def _prompted() -> Iterable[str]:
    """Yield the lines typed at the prompt, until Ctrl-D; history is kept in AMOC_HOME."""
    from prompt_toolkit import PromptSession  # noqa: PLC0415  # it loads an event loop
    from prompt_toolkit.completion import NestedCompleter  # noqa: PLC0415
    from prompt_toolkit.history import FileHistory  # noqa: PLC0415
    from prompt_toolkit.patch_stdout import patch_stdout  # noqa: PLC0415

    home = Path(os.environ.get("AMOC_HOME", "~/.amoc")).expanduser()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    words: dict[str, Any] = {verb: dict.fromkeys(flags_of(verb)) for verb in verbs.commands}
    words["do"] = {found.name: words["do"] for found in listing()}
    words |= {"help": dict.fromkeys(verbs.commands), "exit": None}
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(home / "history")),
        completer=NestedCompleter.from_nested_dict(words),
    )
    with _typed_ahead(sys.stdin.fileno()), patch_stdout(raw=True):
        while True:
            try:
                yield session.prompt("amoc> ").strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return


@contextmanager
def _typed_ahead(terminal: int) -> Iterator[None]:
    """Keep a Ctrl-D for the next prompt that is typed while a command is carried out.

    Between two prompts the terminal is in canonical mode, where Ctrl-D is not a character: the
    prompt, which reads characters, would never see it.
    """
    before = termios.tcgetattr(terminal)
    during = termios.tcgetattr(terminal)
    during[6][termios.VEOF] = os.fpathconf(terminal, "PC_VDISABLE").to_bytes(1)
    termios.tcsetattr(terminal, termios.TCSANOW, during)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
