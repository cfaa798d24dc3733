"""What a command makes of a run: each function checks the command and returns the changes.

All are pure, and raise an AmocError of one line where the command cannot be carried out.
"""

from amoc_gevent.core.run.changes import Change, NewEvent, PlanChange
from amoc_gevent.core.run.commands import Add, Do, Remove
from amoc_gevent.core.run.lifecycle import LEAD_S, Nodes, moving, present
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.placement import next_slot, pattern, rebalancing, removals_of, rotated
from amoc_gevent.core.run.plan import (
    STRATEGIES,
    UNRELEASED,
    Batch,
    Plan,
    Strategy,
    undelayed,
)
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.units import format_duration
from amoc_gevent.errors import AmocError, UsageError

ID_MAX = 2**53
"""Ids travel as JSON numbers too, which are exact up to here."""


def require_active(run: Run | None) -> Run:
    """Return the run, if it has not ended."""
    if run is None or not run.active:
        raise AmocError("there is no run: start one with `do SCENARIO FIRST LAST`")
    return run


def require_changeable(run: Run | None) -> Run:
    """Return the run, if it can still change."""
    run = require_active(run)
    if run.status == "stopping":
        raise AmocError(f"run {run.id} is stopping")
    return run


def select_nodes(nodes: Nodes, names: tuple[str, ...]) -> list[NodeView]:
    """Return the nodes of these names, or all that can take users."""
    able = {node.name: node for node in present(nodes)}
    if not able:
        raise AmocError("no node has joined this master yet")
    unknown = [name for name in names if name not in able]
    if unknown:
        raise UsageError(f"there is no node {unknown[0]}; there are {', '.join(able)}")
    if len({*names}) < len(names):
        raise UsageError(f"nodes {', '.join(names)}: each one once")
    return [able[name] for name in names or able]


def check_do(run: Run | None, command: Do) -> None:
    """Check that a run may begin while `run` is the latest, and with these users."""
    if run is not None and run.active:
        raise AmocError(f"run {run.id} is {run.status}: stop it before the next one")
    if not 1 <= command.first <= command.last <= ID_MAX:
        raise UsageError(
            f"users {command.first} to {command.last}: they begin at 1, the lowest first, "
            f"and end at {ID_MAX}"
        )
    if command.duration is not None and command.duration <= 0:
        text = format_duration(command.duration)
        raise UsageError(f"duration {text}: a run lasts longer than 0; without one, until stop")
    _strategy(command.strategy)


def new_run(command: Do, nodes: list[NodeView], plan: Plan) -> tuple[Run, NewEvent]:
    """Return the run of a checked `do` on these nodes, and its first event.

    `plan` has the version, the name of the run, and the scenario's path and code.
    """
    strategy, rate = _strategy(command.strategy), command.options.user_rate
    batch = Batch(
        command.first, command.last, UNRELEASED, rate, _pattern(strategy, nodes), strategy
    )
    plan = Plan(
        version=plan.version,
        run=plan.run,
        status="starting",
        scenario=plan.scenario,
        code=plan.code,
        settings=dict(command.settings),
        options=command.options,
        batches=(batch,),
    )
    run = Run(
        plan,
        command.first,
        command.last,
        command.comment,
        command.duration,
        workers=sum(node.workers for node in nodes),
    )
    where = f" on {', '.join(node.name for node in nodes)}" if len(nodes) > 1 else ""
    text = f"{run.scenario} with users {command.first} to {command.last}{where}"
    return run, NewEvent("start", text)


def add(run: Run, nodes: Nodes, command: Add, now: float) -> tuple[Batch, list[Change]]:
    """Return the new batch; its users start after those before them, at `now` or later."""
    if command.count < 1:
        raise UsageError(f"add {command.count}: give a number of users, 1 or more")
    plan, first = run.plan, run.plan.highest + 1
    last = first + command.count - 1
    if last > ID_MAX:
        raise UsageError(f"add {command.count}: ids end at {ID_MAX}")
    takers = select_nodes(nodes, command.nodes)
    start = UNRELEASED
    if run.status == "running":
        start = next_slot(plan, run.ended_ids, undelayed(now + LEAD_S, plan.pauses))
    strategy = plan.batches[0].strategy
    places = _pattern(strategy, takers)
    if strategy == "round-robin" and not command.nodes:
        places = rotated(places, plan.batches)
    batch = Batch(first, last, start, plan.options.user_rate, places, strategy)
    event = NewEvent("add", f"{command.count} users, {first} to {last}")
    return batch, [PlanChange({"batches": (*plan.batches, batch)}), event]


def remove(run: Run, nodes: Nodes, command: Remove) -> tuple[int, list[Change]]:
    """Return how many users are removed: those with the highest ids."""
    if command.count < 1:
        raise UsageError(f"remove {command.count}: give a number of users, 1 or more")
    names = tuple(node.name for node in select_nodes(nodes, command.nodes)) if command.nodes else ()
    new = removals_of(run.plan, run.ended_ids, command.count, names, force=command.force)
    count = sum(len(removal.ids) for removal in new)
    event = NewEvent("remove", f"{count} users{' by force' if command.force else ''}")
    return count, [PlanChange({"removals": run.plan.removals + new}), event]


def pause(run: Run, now: float) -> list[Change]:
    """Return the changes by which no user starts from `now` on."""
    if run.plan.paused:
        raise AmocError(f"run {run.id} is paused already: resume it")
    pauses = (*run.plan.pauses, (now, UNRELEASED))
    return [PlanChange({"pauses": pauses}), NewEvent("pause", "no new users start")]


def resume(run: Run, now: float) -> list[Change]:
    """Return the changes by which users start again `now`."""
    if not run.plan.paused:
        raise AmocError(f"run {run.id} is not paused")
    *before, (begin, _) = run.plan.pauses
    pauses = (*before, (begin, now))
    return [PlanChange({"pauses": pauses}), NewEvent("resume", "users start again")]


def rebalance(run: Run, nodes: Nodes) -> tuple[int, list[Change]]:
    """Return how many moves spread the users evenly over all nodes that are present."""
    if run.status != "running" or moving(run.plan):
        busy = "is starting" if run.status != "running" else "is still moving users"
        raise AmocError(f"run {run.id} {busy}: rebalance it in a moment")
    names = tuple(node.name for node in select_nodes(nodes, ()))
    moves = rebalancing(run.plan, names, run.ended_ids)
    event = NewEvent("rebalance", f"users spread anew over {', '.join(names)}")
    changes: list[Change] = [PlanChange({"moves": (*run.plan.moves, *moves)})] if moves else []
    return len(moves), [*changes, event]


def _pattern(strategy: Strategy, nodes: list[NodeView]) -> tuple[str, ...]:
    return pattern(strategy, {node.name: max(1, node.workers) for node in nodes})


def _strategy(text: str) -> Strategy:
    if text and text not in STRATEGIES:
        raise UsageError(f"there is no strategy {text}; there are {', '.join(STRATEGIES)}")
    return next((one for one in STRATEGIES if one == text), "round-robin")
