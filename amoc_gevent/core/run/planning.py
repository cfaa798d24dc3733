"""Turns commands into changes of a run: each function checks a command and returns its changes.

All functions are pure. If a command cannot be executed, they raise AmocError with one line.
"""

from amoc_gevent.core.run.changes import Change, NewEvent, PlanChange
from amoc_gevent.core.run.commands import ID_MAX, Add, Do, Remove, check_ids
from amoc_gevent.core.run.lifecycle import LEAD_S, Nodes, moving, present
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.placement import next_slot, rebalancing, removals_of, rotated, turn_order
from amoc_gevent.core.run.plan import (
    STRATEGIES,
    UNRELEASED,
    Batch,
    Plan,
    Strategy,
    undelayed,
)
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.units import counted, format_duration, user_ids
from amoc_gevent.errors import AmocError, UsageError


def require_active(run: Run | None) -> Run:
    """Return the run. Raises AmocError if there is none or it has ended."""
    if run is None or not run.active:
        raise AmocError("there is no run: start one with `do SCENARIO FIRST LAST`")
    return run


def require_changeable(run: Run | None) -> Run:
    """Return the run. Raises AmocError if it is not active or is stopping."""
    run = require_active(run)
    if run.status == "stopping":
        raise AmocError(f"run {run.id} is stopping")
    return run


def select_nodes(nodes: Nodes, names: tuple[str, ...]) -> list[NodeView]:
    """Return the nodes with these names, or all present nodes if there are no names."""
    able = {node.name: node for node in present(nodes)}
    if not able:
        raise AmocError("no node has joined this master yet")
    unknown = [name for name in names if name not in able]
    if unknown:
        raise UsageError(f"there is no node {unknown[0]}; there are {', '.join(able)}")
    if len({*names}) < len(names):
        raise UsageError(f"nodes {', '.join(names)}: give each node once")
    return [able[name] for name in names or able]


def check_do(run: Run | None, command: Do) -> None:
    """Check that `command` can start a run while `run` is the latest one. Raises AmocError."""
    if run is not None and run.active:
        raise AmocError(f"run {run.id} is {run.status}: stop it before the next one")
    check_ids(command.first, command.last)
    if command.duration is not None and command.duration <= 0:
        text = format_duration(command.duration)
        raise UsageError(f"duration {text}: it must be above 0; omit it to run until `stop`")
    _strategy(command.strategy)


def new_run(command: Do, nodes: list[NodeView], plan: Plan) -> tuple[Run, NewEvent]:
    """Return a run for the checked `command` on `nodes`, and its first event.

    `plan` provides the version, the id of the run, and the path and code of the scenario.
    """
    strategy, rate = _strategy(command.strategy), command.options.user_rate
    batch = Batch(
        command.first, command.last, UNRELEASED, rate, _turn_order(strategy, nodes), strategy
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
    text = f"{run.scenario} with {user_ids(command.first, command.last)}{where}"
    return run, NewEvent("start", text)


def add(run: Run, nodes: Nodes, command: Add, now: float) -> tuple[Batch, list[Change]]:
    """Return the new batch and the changes. Its users start at `now` or after earlier users."""
    if command.count < 1:
        raise UsageError(f"add {command.count}: the number of users must be 1 or more")
    plan, first = run.plan, run.plan.highest + 1
    last = first + command.count - 1
    if last > ID_MAX:
        raise UsageError(f"add {command.count}: the highest possible id is {ID_MAX}")
    takers = select_nodes(nodes, command.nodes)
    start = UNRELEASED
    if run.status == "running":
        start = next_slot(plan, run.ended_ids, undelayed(now + LEAD_S, plan.pauses))
    strategy = plan.batches[0].strategy
    places = _turn_order(strategy, takers)
    if strategy == "round-robin" and not command.nodes:
        places = rotated(places, plan.batches)
    batch = Batch(first, last, start, plan.options.user_rate, places, strategy)
    event = NewEvent("add", f"{counted(command.count, 'user')}, {first} to {last}")
    return batch, [PlanChange({"batches": (*plan.batches, batch)}), event]


def remove(run: Run, nodes: Nodes, command: Remove) -> tuple[int, list[Change]]:
    """Return the number of removed users, those with the highest ids, and the changes."""
    if command.count < 1:
        raise UsageError(f"remove {command.count}: the number of users must be 1 or more")
    names = tuple(node.name for node in select_nodes(nodes, command.nodes)) if command.nodes else ()
    new = removals_of(run.plan, run.ended_ids, command.count, names, force=command.force)
    count = sum(len(removal.ids) for removal in new)
    event = NewEvent("remove", counted(count, "user") + (" by force" if command.force else ""))
    return count, [PlanChange({"removals": run.plan.removals + new}), event]


def pause(run: Run, now: float) -> list[Change]:
    """Return the changes that stop the start of users at `now`."""
    if run.plan.paused:
        raise AmocError(f"run {run.id} is already paused: resume it")
    pauses = (*run.plan.pauses, (now, UNRELEASED))
    return [PlanChange({"pauses": pauses}), NewEvent("pause", "no new users start")]


def resume(run: Run, now: float) -> list[Change]:
    """Return the changes that let users start again at `now`."""
    if not run.plan.paused:
        raise AmocError(f"run {run.id} is not paused")
    *before, (begin, _) = run.plan.pauses
    pauses = (*before, (begin, now))
    return [PlanChange({"pauses": pauses}), NewEvent("resume", "users start again")]


def rebalance(run: Run, nodes: Nodes) -> tuple[int, list[Change]]:
    """Return the number of moves that spread users evenly over present nodes, and the changes."""
    if run.status != "running" or moving(run.plan):
        busy = "is starting" if run.status != "running" else "is still moving users"
        raise AmocError(f"run {run.id} {busy}: try again in a moment")
    names = tuple(node.name for node in select_nodes(nodes, ()))
    moves = rebalancing(run.plan, names, run.ended_ids)
    if not moves:
        return 0, []
    event = NewEvent("rebalance", f"users spread evenly over {', '.join(names)}")
    return len(moves), [PlanChange({"moves": (*run.plan.moves, *moves)}), event]


def _turn_order(strategy: Strategy, nodes: list[NodeView]) -> tuple[str, ...]:
    return turn_order(strategy, {node.name: max(1, node.workers) for node in nodes})


def _strategy(text: str) -> Strategy:
    if text and text not in STRATEGIES:
        raise UsageError(f"there is no strategy {text}; there are {', '.join(STRATEGIES)}")
    return next((one for one in STRATEGIES if one == text), "round-robin")
