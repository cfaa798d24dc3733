"""The lifecycle of a run: decides which changes are due, given the run, its nodes and the time.

All functions are pure. They return changes, which the owner of the run's state applies. The
status goes from `starting` through `running` and `stopping` to `finished` or `failed`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from amoc_gevent.core.manifest import Declared, DisagreementError, Manifest, reconcile
from amoc_gevent.core.messages import Failure, Report, UserCounts
from amoc_gevent.core.run.changes import (
    Change,
    EndRun,
    NewEvent,
    PlanChange,
    RaiseVersion,
    RunChange,
    TransientChange,
)
from amoc_gevent.core.run.node_events import Joined, Left, Lost, NodeEvent, Returned
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.placement import moves_to, release_moves
from amoc_gevent.core.run.plan import UNRELEASED, Plan, undelayed
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.run.transient import ALL_PLACED, Moment, TransientState
from amoc_gevent.core.units import counted, format_duration

LEAD_S = 0.1
"""Starts are scheduled this many seconds ahead, so that every worker knows in time."""

ABANDON_S = 10.0
"""Seconds that a forced stop waits for workers that make no progress."""

SILENT_S = 2.0
"""A node that is silent for longer than this (s) has missed reports, which are due every second."""

TOGETHER_S = 1.5
"""Seconds within which all nodes that died at the same time are found to be silent."""

PACE_S = 0.001
"""Seconds per node between two messages to all nodes, or between two counts of users."""

Nodes = Mapping[str, NodeView]
"""The nodes of a master by name, in the order in which they joined."""


class _Draft:
    """A run with the changes decided so far applied."""

    def __init__(self, run: Run, nodes: Nodes, transient: TransientState, now: Moment) -> None:
        self.run, self.nodes, self.transient, self.now = run, nodes, transient, now
        self.plan, self.users = run.plan, run.users
        self.changes: list[Change] = []

    def change_plan(self, **fields: Any) -> None:
        self.plan = replace(self.plan, version=self.plan.version + 1, **fields)
        self.changes.append(PlanChange(fields))

    def change_run(self, **fields: Any) -> None:
        self.users = fields.get("users", self.users)
        self.changes.append(RunChange(fields))

    def change_transient(self, **fields: Any) -> None:
        self.transient = replace(self.transient, **fields)
        self.changes.append(TransientChange(fields))

    def event(self, kind: str, text: str) -> None:
        self.changes.append(NewEvent(kind, text))

    def slot(self) -> float:
        """Return the earliest start slot that can reach all workers in time."""
        return undelayed(self.now.steady + LEAD_S, self.plan.pauses)


def advance(run: Run, nodes: Nodes, transient: TransientState, now: Moment) -> list[Change]:
    """Return the changes due now: the next status, new nodes for users, and their count."""
    if not run.active:
        return []
    draft = _Draft(run, nodes, transient, now)
    _update_users(draft)
    if run.failure is not None and run.final_status != "failed":
        _stop(draft, force=run.status == "starting", failed=True)
    elif run.status == "starting":
        _start(draft)
    elif run.status == "running":
        if moving(draft.plan):
            _release_moves(draft)
        if now.steady >= run.plan.load_ends or run.all_ended_by(draft.users):
            _stop(draft)
    else:
        _end_stop(draft)
    return draft.changes


def stop(run: Run, now: Moment, *, force: bool = False) -> list[Change]:
    """Return the changes that stop the run, gently or by force."""
    draft = _Draft(run, {}, TransientState(), now)
    _stop(draft, force=force)
    return draft.changes


def reassign(run: Run, nodes: Nodes, transient: TransientState, now: Moment) -> list[Change]:
    """Return the changes that restart the users of nodes that are gone or were restarted.

    There is one move for all nodes lost since the last call, and one for all that came back as new
    processes.
    """
    draft = _Draft(run, nodes, transient, now)
    _reassign(draft)
    return draft.changes


def count(run: Run, nodes: Nodes, transient: TransientState, now: Moment) -> list[Change]:
    """Return the changes that update the user counts from the nodes' reports."""
    draft = _Draft(run, nodes, transient, now)
    _count(draft)
    return draft.changes


def react(
    run: Run, nodes: Nodes, transient: TransientState, now: Moment, event: NodeEvent
) -> list[Change]:
    """Return the changes that follow from a node event in an active run.

    The node's users get new nodes with the next `advance` or `reassign`.
    """
    draft = _Draft(run, nodes, transient, now)
    match event:
        case Joined(node, None):
            draft.event(
                "node-joined", f"{described(node)} joined; it takes users from the next add on"
            )
            draft.change_transient(joined=transient.joined | {node.name})
        case Joined(node):
            draft.event("node-back", f"{described(node)} was restarted")
            draft.change_transient(joined=transient.joined | {node.name})
        case Lost(node):
            text = f"node {node.name} sent no report for its lease"
            draft.event("node-lost", f"{text}; {_after_a_loss(draft)}")
            draft.change_transient(uncounted=True)
        case Returned(node):
            draft.event("node-back", f"node {node.name} reports again")
        case Left(node):
            draft.event("node-left", f"node {node.name} left; its users start on the others")
            draft.change_transient(uncounted=True)
        case _:
            return []
    draft.change_transient(unplaced_since=min(transient.unplaced_since, now.monotonic))
    return draft.changes


def adopt_unsaved(run: Run, node: NodeView, report: Report, now: Moment) -> list[Change]:
    """Return the changes that the previous master sent to a node but could not store."""
    changes: list[Change] = []
    if run.active and node.plan_version > run.plan.version:
        changes.append(RaiseVersion(node.plan_version))
    if run.plan.going_on and any(event.kind == "stopped-before" for event in report.events):
        changes += stop(run, now)
    return changes


def check_manifest(run: Run, node: NodeView, manifest: Manifest) -> list[Change]:
    """Return the changes after a node sent its manifest: the run fails if nodes disagree."""
    try:
        declared = reconcile(run.declared, Declared(manifest, f"node {node.name}"))
    except DisagreementError as error:
        return [] if run.failure is not None else [RunChange({"failure": Failure(str(error))})]
    return [RunChange({"declared": declared})]


def described(node: NodeView) -> str:
    """Return the node's name and number of workers as text."""
    return f"node {node.name} with {counted(node.workers, 'worker')}"


def present(nodes: Nodes) -> list[NodeView]:
    """Return the nodes that can have users, in the order in which they joined."""
    return [node for node in nodes.values() if node.present]


def min_interval(nodes: Nodes) -> float:
    """Return the minimum seconds between two messages to all nodes, or two counts of users."""
    return len(nodes) * PACE_S


def moving(plan: Plan) -> bool:
    """Return whether some moves wait until their source nodes release the users."""
    return any(move.start == UNRELEASED for move in plan.moves)


# Users and their nodes


def _update_users(draft: _Draft) -> None:
    """Reassign and count users if that is due. With many nodes it is due less often.

    Nodes that died together miss their next reports within the same second. So their users wait
    while other nodes are silent too, and move together. A new process gets its users at once.
    """
    now, transient, shortest = draft.now.monotonic, draft.transient, min_interval(draft.nodes)
    waited = now - transient.unplaced_since
    if transient.joined or waited >= TOGETHER_S or (waited >= shortest and not _silent(draft)):
        _reassign(draft)
    if transient.uncounted and now - transient.counted >= shortest / 4:
        _count(draft)


def _silent(draft: _Draft) -> bool:
    """Return whether any present node has missed reports."""
    return any(draft.now.monotonic - node.heard > SILENT_S for node in present(draft.nodes))


def _able(nodes: Nodes) -> list[NodeView]:
    """Return the nodes that can take over users."""
    return [node for node in present(nodes) if node.state != "failed"]


def _reassign(draft: _Draft) -> None:
    if draft.transient.unplaced_since == ALL_PLACED:
        return
    run, joined = draft.run, draft.transient.joined
    draft.change_transient(joined=frozenset[str](), unplaced_since=ALL_PLACED)
    able = sorted(_able(draft.nodes), key=lambda n: n.users.total if n.run == run.id else 0)
    destinations = tuple(node.name for node in able)
    plan = _moved(draft, draft.plan, joined, ())
    if destinations:
        plan = _moved(draft, plan, _absent_nodes(plan, draft.nodes), destinations)
    if plan is not draft.plan:
        draft.change_plan(moves=plan.moves)


def _absent_nodes(plan: Plan, nodes: Nodes) -> set[str]:
    """Return the nodes that were given users and are absent, except nodes whose users wait."""
    placed = _named(plan) - {node.name for node in present(nodes)}
    if plan.options.on_node_loss == "keep":
        placed -= {node.name for node in nodes.values() if node.lost}
    return placed


def _moved(
    draft: _Draft, plan: Plan, sources: frozenset[str] | set[str], destinations: tuple[str, ...]
) -> Plan:
    """Return the plan with all users on `sources` moved to `destinations`.

    Without destinations each node keeps its own users, which start again.
    """
    moves = moves_to(plan, sources, destinations, draft.run.ended_ids, draft.slot())
    return replace(plan, moves=(*plan.moves, *moves)) if moves else plan


def _release_moves(draft: _Draft) -> None:
    """Let moved users start once their source nodes have released them."""
    plan = draft.plan
    unreleased = [move for move in plan.moves if move.start == UNRELEASED]
    sources = {source for move in unreleased for source in move.sources}
    holding = (node for node in present(draft.nodes) if node.name in sources)
    if not any(node.behind(plan) for node in holding):
        draft.change_plan(moves=release_moves(plan, draft.run.ended_ids, draft.slot()).moves)


def _count(draft: _Draft) -> None:
    run = draft.run
    nodes = (node for node in present(draft.nodes) if node.run == run.id)
    before = draft.users.running
    draft.change_run(users=run.counted(sum((node.users for node in nodes), UserCounts())))
    draft.change_transient(uncounted=False, counted=draft.now.monotonic)
    if draft.users.running != before:
        draft.change_transient(progressed=draft.now.steady)


def _after_a_loss(draft: _Draft) -> str:
    """Say what happens to the users of a lost node."""
    if draft.plan.options.on_node_loss == "keep":
        return "its users wait for it"
    if not _able(draft.nodes):
        return "its users wait for any node"
    return "its users start on the others"


# The statuses


def _start(draft: _Draft) -> None:
    """Release the batches once all nodes with users are ready."""
    names = _named(draft.plan)
    involved = [node for node in present(draft.nodes) if node.name in names]
    if all(node.follows(draft.run.id, "ready") for node in involved):
        started_at = draft.now.steady + LEAD_S
        batches = draft.plan.released(draft.slot()).batches
        duration = draft.run.duration
        ends = {} if duration is None else {"load_ends": started_at + duration}
        draft.change_run(started_at=started_at)
        draft.change_plan(status="running", batches=batches, **ends)


def _stop(draft: _Draft, *, force: bool = False, failed: bool = False) -> None:
    """Stop the run; with `failed` its final status is failed."""
    run = draft.run
    if failed:
        draft.change_run(final_status="failed")
    if run.status != "stopping":
        draft.change_run(stopping_at=draft.now.steady)
        draft.event("stop", "by force" if force else "gently")
    elif force and not run.plan.force:
        draft.event("stop", "by force")
    draft.change_plan(status="stopping", force=force or run.plan.force)


def _end_stop(draft: _Draft) -> None:
    """End the run once all workers have stopped. Use force, then give up, after timeouts."""
    run, now, transient = draft.run, draft.now.steady, draft.transient
    timeout = run.plan.options.stop_timeout
    by_force_at = run.stopping_at + timeout
    nodes: Sequence[NodeView] = present(draft.nodes)
    if all(node.follows(run.id, "stopped") and node.complete for node in nodes):
        _end(draft)
    elif now > max(by_force_at, transient.progressed, transient.since) + ABANDON_S:
        draft.event("abandoned", "some workers did not report that they stopped; they were killed")
        _end(draft)
    elif not run.plan.force and now > by_force_at:
        text = f"by force: users did not end within {format_duration(timeout)}"
        draft.event("stop", text)
        draft.change_plan(force=True)


def _end(draft: _Draft) -> None:
    _count(draft)
    draft.changes.append(EndRun(draft.now.steady))


def _named(plan: Plan) -> set[str]:
    """Return the names of all nodes that were ever given users."""
    return {name for made in plan.batches for name in made.nodes} | {
        name for move in plan.moves for name in move.destinations
    }
