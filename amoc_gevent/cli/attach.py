"""`amoc attach`: a prompt for the master; the run goes on when it is left."""

import sys

import click

from amoc_gevent.cli.steering.prompt import steer
from amoc_gevent.cli.steering.remote import master_of
from amoc_gevent.cli.steering.terminal import print_warning
from amoc_gevent.core.answers import Answer, MasterDaemon, NodeDaemon, RunStatus
from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED, AmocError
from amoc_gevent.printable import printable


@click.command()
def attach() -> int:
    """Control the run of this home's master from a prompt: do, add, remove, status, watch, ...

    Ctrl-D leaves the prompt; the run continues. Commands can be piped in; the exit code is 1 if one
    of them failed.
    """
    control = master_of(Home.current())
    daemon = control.answer({"command": "daemon"})
    assert isinstance(daemon, MasterDaemon | NodeDaemon)  # noqa: S101  # the type that was asked for
    if not sys.stdin.isatty():
        return EXIT_FINISHED if steer(control) else EXIT_FAILED
    click.echo(f"attached to the master, pid {daemon.pid}; `help` lists the commands")
    print_warning(control)
    steer(control)
    try:
        goes_on = _goes_on(control.answer({"command": "status"}))
    except AmocError as error:
        click.echo(f"detached: {printable(str(error))}")
        return EXIT_FINISHED
    click.echo(f"detached{goes_on}; `amoc attach` comes back")
    return EXIT_FINISHED


def _goes_on(status: Answer) -> str:
    if not isinstance(status, RunStatus):
        return ""
    if status.status not in {"starting", "running", "stopping"}:
        return ""
    return printable(f": run {status.run} of {status.scenario} goes on")
