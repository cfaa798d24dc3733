"""`amoc hosts`: prepares the machines of hosts.ini, deploys to them and controls their daemons."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED
from amoc_gevent.hosts import inventory, release, tasks
from amoc_gevent.hosts.deployment import Deployment
from amoc_gevent.hosts.inventory import Host, Inventory
from amoc_gevent.hosts.ssh import Ssh, becomes_root, connections
from amoc_gevent.hosts.work import Outcome, on_all, summary_line
from amoc_gevent.loading.places import PACKAGE

RELEASE = Path(os.environ.get("AMOC_RELEASE") or PACKAGE.parent / "dist/amoc")
CHECK = click.option("--check", is_flag=True, help="Only show what would change.")
RELEASED = click.option(
    "--release",
    "released",
    type=click.Path(path_type=Path),
    default=RELEASE,
    help="Release built by `make release` [the running one, or dist/amoc].",
)
INVENTORY = click.option(
    "--inventory",
    "path",
    type=click.Path(path_type=Path),
    default=Path("hosts.ini"),
    help="The list of machines [hosts.ini].",
)
LINES = click.option("--lines", type=click.IntRange(min=1), default=20, help="Lines per log [20].")


def _on_hosts(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select machines."""
    limit = click.option(
        "--limit", default="", metavar="NAMES", help="Only these hosts, comma-separated."
    )
    return INVENTORY(limit(command))


@click.group()
def hosts() -> None:
    """Prepare, deploy to and manage the machines of hosts.ini over ssh."""


@hosts.command()
@_on_hosts
@RELEASED
@CHECK
def prepare(path: Path, limit: str, released: Path, check: bool) -> int:
    """Set the limits, sysctls and user that a load generator needs."""
    python = release.read(released).python
    return _each(path, limit, lambda m: tasks.prepare_task(m, python, check=check), check=check)


@hosts.command()
@_on_hosts
@CHECK
def unprepare(path: Path, limit: str, check: bool) -> int:
    """Undo `prepare`: restore limits and sysctls."""

    def undoing(machine: Host) -> tasks.Task:
        return {"verb": "unprepare", "check": check, **tasks.common_fields(machine)}

    return _each(path, limit, undoing, check=check)


@hosts.command()
@_on_hosts
@RELEASED
@CHECK
def deploy(path: Path, limit: str, released: Path, check: bool) -> int:
    """Copy the release, exchange keys, and start the master and the nodes."""
    machines = inventory.read(path)
    chosen, built = machines.limited(limit), release.read(released)
    with connections() as ssh:
        outcomes = Deployment(ssh, machines, built, check=check).run(chosen)
        code = _report_outcomes(outcomes, check=check)
        if not check:
            _show_nodes(ssh, machines)
    return code


@hosts.command()
@_on_hosts
def status(path: Path, limit: str) -> int:
    """Show each machine's release and daemons, then the master's nodes."""
    machines = inventory.read(path)
    with connections() as ssh:
        outcomes = [Outcome(machine) for machine in machines.limited(limit)]
        on_all(outcomes, lambda one: _look(ssh, one))
        width = max(len(one.machine.name) for one in outcomes)
        for one in outcomes:
            click.echo(f"{one.machine.name:<{width}}  {one.failed or '; '.join(one.notes)}")
        _show_nodes(ssh, machines)
    return _exit_code(outcomes)


@hosts.command()
@_on_hosts
@CHECK
@click.option("--force", is_flag=True, help="Stop an active run too, at once.")
def stop(path: Path, limit: str, check: bool, force: bool) -> int:
    """Stop the daemons. Those of an active run are stopped only with --force."""

    def ending(machine: Host) -> tasks.Task:
        place = tasks.common_fields(machine)
        return {"verb": "stop", "check": check, "force": force, "python": _python(), **place}

    return _each(path, limit, ending, check=check)


@hosts.command()
@_on_hosts
@LINES
def logs(path: Path, limit: str, lines: int) -> int:
    """Show the last lines of all logs."""
    machines = inventory.read(path)
    with connections() as ssh:
        outcomes = [Outcome(machine) for machine in machines.limited(limit)]

        def ask(one: Outcome) -> None:
            order = {"verb": "logs", "lines": lines, **tasks.common_fields(one.machine)}
            one.take("logs", ssh.ask(one.machine, order))

        on_all(outcomes, ask)
    for one in outcomes:
        if one.failed:
            click.echo(f"{one.machine.name}: {one.failed}", err=True)
            continue
        for kind, found in one.answers["logs"]["logs"].items():
            for line in found:
                click.echo(f"{one.machine.name} {kind}: {line}")
    return _exit_code(outcomes)


@hosts.command()
@INVENTORY
def attach(path: Path) -> int:
    """Control the run from a prompt on the master's machine."""
    master = inventory.read(path).master
    user, home = master["amoc_user"], master["amoc_home"]
    amoc = f"{master['amoc_install_dir']}/bin/amoc"
    words = ["sh", "-c", ATTACHING, "attach", user, home, amoc]
    if becomes_root(master) and master["ansible_user"] != user:
        words = ["sudo", "-n", *words]
    with connections() as ssh:
        terminal = ["-t"] if sys.stdin.isatty() else []
        command = [*ssh.command(master, *terminal), shlex.join(words)]
        return subprocess.run(command, check=False).returncode


ATTACHING = """
user=$1 home=$2 amoc=$3
id "$user" >/dev/null 2>&1 && [ -x "$amoc" ] && cd "$home" 2>/dev/null ||
    { echo "amoc is not deployed there for user $user: make prepare deploy" >&2; exit 1; }
export AMOC_HOME="$home"
[ "$(id -un)" = "$user" ] && exec "$amoc" attach
export HOME="$home"
exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups "$amoc" attach
"""
"""Runs `amoc attach` as the user of the daemons, in their home. That user may not be allowed to
enter the directory in which the ssh session starts."""


def _python() -> str:
    return "{}.{}".format(*sys.version_info[:2])


def _each(path: Path, limit: str, task: Callable[[Host], tasks.Task], *, check: bool) -> int:
    """Run a task on each machine, print the outcomes and return the exit code."""
    chosen = inventory.read(path).limited(limit)
    outcomes = [Outcome(machine) for machine in chosen]
    with connections() as ssh:
        on_all(outcomes, lambda one: _ask(ssh, one, task(one.machine)))
    return _report_outcomes(outcomes, check=check)


def _ask(ssh: Ssh, outcome: Outcome, task: tasks.Task) -> None:
    outcome.take(task["verb"], ssh.ask(outcome.machine, task))


def _report_outcomes(outcomes: Sequence[Outcome], *, check: bool) -> int:
    """Print a line for each machine and one for all; return the exit code."""
    width = max(len(one.machine.name) for one in outcomes)
    for one in outcomes:
        click.echo(one.line(width, check=check))
    click.echo(summary_line(outcomes, check=check))
    return _exit_code(outcomes)


def _exit_code(outcomes: Sequence[Outcome]) -> int:
    return EXIT_FAILED if any(one.failed for one in outcomes) else EXIT_FINISHED


def _look(ssh: Ssh, outcome: Outcome) -> None:
    """Note the release and the running daemons of a machine."""
    machine = outcome.machine
    found = outcome.take("look", ssh.ask(machine, {"verb": "look", **tasks.common_fields(machine)}))
    outcome.notes.append(f"release {found['commit']}" if found["release"] else "no release")
    for kind, told in found["running"].items():
        outcome.notes.append(f"{kind} runs, pid {told['pid']}" if told else f"no {kind} runs")


def _show_nodes(ssh: Ssh, machines: Inventory) -> None:
    """Print the master's list of nodes, or why there is none."""
    one = Outcome(machines.master)
    order = {"verb": "command", "words": ["nodes"], "python": _python()}
    on_all([one], lambda o: _ask(ssh, o, {**order, **tasks.common_fields(o.machine)}))
    click.echo()
    click.echo(one.failed or one.answers["command"]["said"].rstrip("\n"))
