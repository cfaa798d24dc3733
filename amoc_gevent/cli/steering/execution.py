"""Carries out a command from the shell or a prompt: sends it, waits, and prints the answer."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import click

from amoc_gevent.cli.steering.formatting import format_answer
from amoc_gevent.cli.steering.terminal import (
    has_colour,
    print_warning,
    terminal_width,
    with_warning,
)
from amoc_gevent.cli.steering.verb_parser import Invocation, Request
from amoc_gevent.control.client import Control, valid_answer
from amoc_gevent.core.answers import (
    Answer,
    RunStatus,
    Started,
    Stopping,
)
from amoc_gevent.core.run.plan import Status
from amoc_gevent.errors import EXIT_FINISHED, AmocError, ScenarioError, UsageError
from amoc_gevent.printable import printable

POLL_MIN_S = 0.02
POLL_MAX_S = 0.25
REPORT_WIDTH = 100


def carry_out(asked: Invocation, control: Control) -> int:
    """Send a request, print the answer and return an exit code. Raises the answered AmocError.

    Ctrl-C ends the waiting, not the command; the KeyboardInterrupt is raised.
    """
    verb = asked.request["command"]
    if verb == "watch":
        from amoc_gevent.cli.steering.watch import watch  # noqa: PLC0415  # terminals: one verb needs them

        with valid_answer():
            return watch(control, _show_summary, as_json=asked.as_json)
    request = _PREPARED.get(verb, _as_it_is)(asked)
    try:
        with valid_answer():
            _answered(asked, control, control.answer(request))
    finally:
        print_warning(control)
    return EXIT_FINISHED


def _show_summary(run: str, control: Control) -> None:
    """Ask for the summary of `run` and print it."""
    carry_out(Invocation({"command": "summary", "run": run}), control)


def _answered(asked: Invocation, control: Control, answer: Answer) -> None:
    """Print the answer, and wait for its effect if that was asked for."""
    if not asked.as_json:
        click.echo(format_answer(answer, control.start_command, terminal_width()))
    if asked.wait and isinstance(answer, Started):
        wait_until_started(control, answer.run)
    elif asked.wait and isinstance(answer, Stopping):
        answer = replace(answer, status=_wait_until_ended(control, answer.run))
        if not asked.as_json:
            click.echo(f"run {printable(answer.run)} {answer.status}")
    if asked.as_json:
        alone = getattr(answer, "summary", answer)
        click.echo(json.dumps(with_warning(alone, control), indent=2, ensure_ascii=False))


def _as_it_is(asked: Invocation) -> Request:
    return asked.request


def _with_its_path(asked: Invocation) -> Request:
    """Replace the scenario by its path if it exists here: the daemon may run in another directory.

    Otherwise leave the name to the daemon.
    """
    from amoc_gevent.loading.catalogue import find  # noqa: PLC0415  # one verb needs it
    from amoc_gevent.loading.places import resolved  # noqa: PLC0415  # the same

    try:
        path = find(asked.request["scenario"])
    except UsageError:
        return asked.request
    return {**asked.request, "scenario": str(resolved(path))}


def _as_text(asked: Invocation) -> Request:
    if asked.as_json:
        return asked.request
    columns = shutil.get_terminal_size((REPORT_WIDTH, 24)).columns
    colour = has_colour()
    return {**asked.request, "form": "text", "width": columns, "colour": colour}


_PREPARED: dict[str, Callable[[Invocation], Request]] = {"do": _with_its_path, "summary": _as_text}


def _statuses(control: Control, run: str) -> Iterator[RunStatus]:
    """Yield the status of `run` repeatedly, while it is the master's current run."""
    pause = POLL_MIN_S
    while True:
        status = control.answer({"command": "status"})
        if not isinstance(status, RunStatus) or status.run != run:
            return
        yield status
        threading.Event().wait(pause)
        pause = min(POLL_MAX_S, pause * 1.5)


def wait_until_started(control: Control, run: str) -> None:
    """Wait until the workers are ready. Raises the failure of the run."""
    for status in _statuses(control, run):
        failing = status.status == "stopping" and bool(status.failure)
        if status.status == "starting" or failing:
            continue
        if status.failure:
            if status.failure_usage:
                raise UsageError(status.failure)
            raise ScenarioError(status.failure, status.failure_detail)
        return
    raise AmocError(f"run {run} is no longer the master's run")


def _wait_until_ended(control: Control, run: str) -> Status:
    """Return the status in which `run` ended."""
    for status in _statuses(control, run):
        if status.status in {"finished", "failed"}:
            return status.status
    return "finished"  # another run began, so this one has ended
