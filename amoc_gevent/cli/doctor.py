"""`amoc doctor`: shows what breaks first when many users run a scenario, here or on all nodes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import click

from amoc_gevent.cli.options import SET, WORKERS, core_count
from amoc_gevent.cli.params import DURATION, run_options
from amoc_gevent.core.run.capacity import Machine, UserCost, at_rest, cost_of, limits
from amoc_gevent.core.units import format_count, format_duration
from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED, AmocError
from amoc_gevent.hosts import inventory, tasks
from amoc_gevent.hosts.probe import FEW, MANY, PROBE_REST_S, probe
from amoc_gevent.hosts.ssh import AGENT, ANSWER, connections
from amoc_gevent.hosts.work import Outcome, on_all

HERE = "this machine"
HAS = ("cores", "memory", "descriptors", "ports", "reuses_ports")


@click.command()
@click.argument("scenario")
@click.argument("users", type=click.IntRange(min=1))
@SET
@WORKERS
@click.option(
    "--hosts",
    "path",
    type=click.Path(path_type=Path),
    help="Check the nodes of this hosts.ini instead of this machine.",
)
@click.option(
    "--probe-time", type=DURATION, default=5.0, help="Duration of each of the two probes [5s]."
)
@run_options("repeat_interval")
def doctor(
    scenario: str,
    users: int,
    given: tuple[str, ...],
    workers: int | None,
    path: Path | None,
    probe_time: float,
    repeat_interval: float,
) -> int:
    """Show what breaks first when USERS run SCENARIO, and what to do about it.

    Two short runs on this machine, with 1 user and with up to 40, measure the resources that a user
    needs. Their CPU and connections are converted to the rest between two iterations that the run
    will have. All are compared with the limits of this machine. With --hosts, the users are divided
    among the nodes, and each node's limits are checked. The exit code is 1 if something will break.
    """
    machines = None if path is None else inventory.read(path)
    counts = (FEW, max(FEW + 1, min(MANY, users)))
    few, many = (probe(scenario, count, probe_time, given) for count in counts)
    cost = cost_of(few.figures, many.figures)
    cycle = many.figures["cycle"]
    if cycle != inf:
        cost = at_rest(cost, cycle, PROBE_REST_S, repeat_interval)
    click.echo(_share_line(cost))
    if cycle != inf:
        click.echo(f"if it rests {format_duration(repeat_interval)} between two iterations")
    problems = [f"{why}: see `amoc try {scenario}`" for why in [many.trouble] if why]
    found = _facts_here() if machines is None else _facts_there(machines)
    part = -(-users // len(found))
    for name, facts in found.items():
        problems += _examine(name, facts, cost, part, workers)
    problems += _differences(
        {name: facts for name, facts in found.items() if "failed" not in facts}
    )
    click.echo()
    for problem in problems:
        click.secho(f"will break: {problem}", fg="red")
    if problems:
        return EXIT_FAILED
    click.echo(f"nothing will break at {format_count(users)} users")
    return EXIT_FINISHED


def _share_line(cost: UserCost) -> str:
    return (
        f"each user takes {cost.memory / 1000:,.0f} KB, {cost.descriptors:.1f} descriptors, "
        f"{cost.cpu * 100:.3f} % of a core and {cost.connections:.2f} new connections a second; "
        f"a worker without users {cost.base / 1e6:,.0f} MB"
    )


def _examine(
    name: str, facts: dict[str, Any], cost: UserCost, users: int, workers: int | None
) -> Iterator[str]:
    """Print the limits of one machine, and yield what will break there."""
    click.echo(f"\n{name}, {format_count(users)} users:")
    if "failed" in facts:
        click.echo(f"  {facts['failed']}")
        yield f"{name}: {facts['failed']}"
        return
    machine = Machine(**{has: facts[has] for has in HAS})
    for one in limits(cost, machine, users, workers or facts.get("workers") or machine.cores):
        most = "any number of users"
        if one.max_users != inf:
            most = f"{format_count(one.max_users)} users at most"
        needed = f"{format_count(round(one.needed, 2))} of {format_count(round(one.available, 2))}"
        click.echo(f"  {one.name:<12} {needed} {one.unit}: {most}")
        if one.breaks(users):
            yield f"{name}: {one.name}, {needed} {one.unit}, {most}: {one.remedy}"
    clock = (
        "synchronised"
        if facts["synchronised"]
        else ("not synchronised: times of several machines do not compare; install chrony")
    )
    click.echo(f"  {'clock':<12} {clock}")
    for unreachable in filter(None, facts["unreachable"]):
        yield f"{name}: {unreachable}: deploy and start the master, and open its ports"


def _differences(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield a problem if the machines do not all have the same release."""
    commits = {name: facts["commit"] for name, facts in found.items() if name != HERE}
    if len(set(commits.values())) > 1:
        told = ", ".join(f"{name} {commit or 'none'}" for name, commit in commits.items())
        yield f"releases differ ({told}): make deploy"


def _facts_here() -> dict[str, dict[str, Any]]:
    """Return the facts about this machine, from its agent."""
    order = json.dumps({"verb": "facts", "size": 0, "check": True})
    done = subprocess.run(  # noqa: S603  # our own interpreter and agent
        [sys.executable, str(AGENT)],
        input=order + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout.startswith(ANSWER):
        raise AmocError(f"this machine cannot be examined: {done.stderr.strip()[-200:]}")
    found: dict[str, Any] = json.loads(done.stdout.removeprefix(ANSWER))
    return {HERE: {**found, "cores": core_count()}}


def _facts_there(machines: inventory.Inventory) -> dict[str, dict[str, Any]]:
    """Return the facts about all nodes, from their agents, with the master's ports out of reach."""
    master = machines.master
    host = master["amoc_address"] or master.address
    reach = [(host, int(master[port])) for port in ("amoc_port", "amoc_reports_port")]
    outcomes = [Outcome(machine) for machine in machines.nodes]
    with connections() as ssh:

        def ask(one: Outcome) -> None:
            order = {"verb": "facts", "reach": reach, **tasks.common_fields(one.machine)}
            one.take("facts", ssh.ask(one.machine, order))

        on_all(outcomes, ask)
    found = {}
    for one in outcomes:
        workers = one.machine["amoc_workers"]
        facts = {"failed": one.failed} if one.failed else one.answers["facts"]
        found[one.machine.name] = {**facts, "workers": int(workers) if workers else None}
    return found
