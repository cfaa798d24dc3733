"""The course of a run: what the nodes say and what is due take it from status to status."""

import logging
from dataclasses import replace

from gevent.event import Event as Flag

from amoc_gevent import clock
from amoc_gevent.bus.refusals import Refusals
from amoc_gevent.core.manifest import Declared, DisagreementError, agreed
from amoc_gevent.core.messages import Failure, MessageError, Report, UserCounts
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.placement import moves_to_heirs, release_moves
from amoc_gevent.core.run.plan import UNRELEASED, Plan, undelayed
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.units import format_duration
from amoc_gevent.master.run_state import Keeper

log = logging.getLogger(__name__)

LEAD_S = 0.1
ABANDON_S = 10.0

SILENT_S = 2.0
"""Seconds after which a node has missed reports: it sends one in each."""

TOGETHER_S = 1.5
"""Seconds within which nodes are lost that died at the same time."""

ALL_HOME = float("inf")
"""Since when there are users to home, where there are none."""


class Conductor:
    """Hears of the nodes (`nodes` are those of the master) and moves the keeper's run on."""

    def __init__(self, keeper: Keeper, nodes: dict[str, NodeView]) -> None:
        self._keeper = keeper
        self._nodes = nodes
        self._refusals = Refusals()
        self._progressed = 0.0
        self._since = clock.steady()
        self._complaint = ""
        self._uncounted = False
        self._counted = 0.0
        self._unhomed_since = clock.monotonic() if self._going_on() is not None else ALL_HOME
        self._joined: set[str] = set()
        self.ended = Flag()

    @property
    def present(self) -> list[NodeView]:
        """The nodes that can have users, in the order in which they joined."""
        return [node for node in self._nodes.values() if node.present]

    def begin(self, run: Run) -> None:
        """Take up a new run."""
        self._refusals = Refusals()
        self._unhomed_since = ALL_HOME
        self._joined.clear()
        self.ended.clear()
        self.count_users(run)

    def _going_on(self) -> Run | None:
        run = self._keeper.run
        return run if run is not None and run.active else None

    # What the fleet tells

    def joined(self, node: NodeView, known: NodeView | None) -> None:
        """Have a node's users return that comes back as a new process; others get the plan."""
        words = f"node {node.name} with {node.workers} worker{'' if node.workers == 1 else 's'}"
        log.info("%s joined%s", words, " again" if known is not None else "")
        run = self._going_on()
        if run is not None:
            if known is None:
                text = f"{words} joined: it takes part from the next add on"
                self._keeper.event("node-joined", text)
            else:
                self._keeper.event("node-back", f"{words} was started again")
            self._to_home()
            self._joined.add(node.name)
        if self._overdue():  # else with its next report: many join at once
            self._keeper.publish()

    def lost(self, node: NodeView) -> None:
        """Note that a node is not heard: the others get its users, unless they shall wait."""
        log.warning("node %s is lost", node.name)
        run = self._going_on()
        if run is None:
            return
        self._uncounted = True
        text = f"node {node.name} was not heard for its lease"
        if run.plan.options.on_node_loss == "keep":
            then = "its users wait for it"
        elif not self._able():
            then = "its users wait for any node"
        else:
            then = "its users start on the others"
        self._keeper.event("node-lost", f"{text}; {then}")
        self._to_home()

    def back(self, node: NodeView) -> None:
        """Note that a lost node is heard again: what it kept of its reports counts."""
        log.info("node %s is back", node.name)
        run = self._going_on()
        if run is not None:
            self._keeper.event("node-back", f"node {node.name} is heard again")
            self._to_home()

    def left(self, node: NodeView) -> None:
        """Note that a node has ended its users: the others get them."""
        log.info("node %s left", node.name)
        run = self._going_on()
        if run is not None:
            self._uncounted = True
            self._keeper.event("node-left", f"node {node.name} left; its users start on the others")
            self._to_home()

    def refused(self, error: MessageError) -> None:
        """Note a report that cannot be read: its figures are missing."""
        if str(error) != self._complaint:  # one that is told again and again is a line once
            self._complaint = str(error)
            log.error("%s", error)
        refused = self._refusals.event("a node", error)
        run = self._going_on()
        if refused is not None and run is not None:
            run.events.append(refused)

    def report(self, node: NodeView, report: Report) -> None:
        """Take in what a node measured and what became of its users."""
        run = self._keeper.run
        if run is None or report.run != run.id:
            if node.behind(self._keeper.plan) and self._overdue():
                self._keeper.publish()
            return
        if run.active:  # what is known of one that has ended changes no more
            run.clocks[node.name] = node.clock
        self._uncounted = True
        for first, last in report.ended:
            run.end_users(first, last)
        run.events.extend(report.events)
        if self._keeper.inherited:
            self._catch_up_with(run, node, report)
        for second, snapshot in report.seconds:
            health = [one for one in report.health if one.second == second]
            run.results.collect(second, snapshot, health, run.users)
        if report.failure is not None and run.failure is None:
            run.failure = report.failure
        if report.manifest is not None and run.active:
            self._compare(run, Declared(report.manifest, f"node {node.name}"))
        if node.behind(run.plan) and self._overdue():
            self._keeper.publish()

    def _compare(self, run: Run, declared: Declared) -> None:
        """Fail the run where a node declares something else than those before it."""
        try:
            run.declared = agreed(run.declared, declared)
        except DisagreementError as error:
            run.failure = run.failure or Failure(str(error))

    def _catch_up_with(self, run: Run, node: NodeView, report: Report) -> None:
        """Heed what the node was told by the last master, which could not store it."""
        if run.active and node.plan_version > run.plan.version:
            self._keeper.surpass(node.plan_version)
        if run.plan.going_on and any(event.kind == "stopped-before" for event in report.events):
            self.begin_stop(run)

    def _overdue(self) -> bool:
        """Whether the plan may be published again: the more nodes, the less often."""
        return clock.monotonic() - self._keeper.published >= max(0.1, self.pause)

    @property
    def pause(self) -> float:
        """Seconds between two times that so many nodes are told something, or are added up."""
        return len(self._nodes) / 1000

    # Users

    def count_users(self, run: Run) -> None:
        """Sum up what the nodes say of their users."""
        self._uncounted, self._counted = False, clock.monotonic()
        nodes = (node for node in self.present if node.run == run.id)
        before = run.users.running
        run.count_users(sum((node.users for node in nodes), UserCounts()))
        if run.users.running != before:
            self._progressed = clock.steady()

    def _to_home(self) -> None:
        self._unhomed_since = min(self._unhomed_since, clock.monotonic())

    def _able(self) -> list[NodeView]:
        """Return the nodes that can take over users."""
        return [node for node in self.present if node.state != "failed"]

    def home(self, run: Run) -> None:
        """Have all users start somewhere whose nodes can have them no more, or began anew.

        That is one move for all nodes that were lost since last time, however many they are, and
        one for all that came back as new processes.
        """
        if self._unhomed_since == ALL_HOME:
            return
        joined, self._joined, self._unhomed_since = self._joined, set(), ALL_HOME
        able = sorted(self._able(), key=lambda n: n.users.total if n.run == run.id else 0)
        heirs = tuple(node.name for node in able)
        plan = self._moved(run, run.plan, joined, ())
        if heirs:
            plan = self._moved(run, plan, self._homeless(plan), heirs)
        if plan is not run.plan:
            self._keeper.change(run, moves=plan.moves)

    def _homeless(self, plan: Plan) -> set[str]:
        """Return the nodes that users were given to and that can have none, unless they wait."""
        placed = _named(plan) - {node.name for node in self.present}
        if plan.options.on_node_loss == "keep":
            placed -= {node.name for node in self._nodes.values() if node.lost}
        return placed

    def _moved(self, run: Run, plan: Plan, sources: set[str], heirs: tuple[str, ...]) -> Plan:
        """Return the plan in which the heirs have the users of these nodes, which let go of them.

        Without heirs each node has its own, who start anew.
        """
        start = undelayed(clock.steady() + LEAD_S, plan.pauses)
        moves = moves_to_heirs(plan, sources, heirs, run.ended_ids, start)
        return replace(plan, moves=(*plan.moves, *moves)) if moves else plan

    @property
    def moving(self) -> bool:
        """Whether users are on their way from nodes that have not let go of them yet."""
        return any(move.start == UNRELEASED for move in self._keeper.plan.moves)

    def _release_moves(self, run: Run) -> None:
        """Have users start where they were moved to, once their last nodes have let go of them."""
        unreleased = [move for move in run.plan.moves if move.start == UNRELEASED]
        sources = {source for move in unreleased for source in move.sources}
        holding = (node for node in self.present if node.name in sources)
        if not any(node.behind(run.plan) for node in holding):
            start = undelayed(clock.steady() + LEAD_S, run.plan.pauses)
            self._keeper.change(run, moves=release_moves(run.plan, run.ended_ids, start).moves)

    # The course

    def begin_stop(self, run: Run, *, force: bool = False, failed: bool = False) -> None:
        """Have all users end."""
        if failed:
            run.final_status = "failed"
        if run.status != "stopping":
            run.stopping_at = clock.steady()
            self._keeper.event("stop", "by force" if force else "gently")
        elif force and not run.plan.force:
            self._keeper.event("stop", "by force")
        self._keeper.change(run, status="stopping", force=force or run.plan.force)

    def advance(self) -> None:
        """Take the run to its next status when it is due."""
        run = self._going_on()
        if run is None:
            return
        self._catch_up(run)
        now = clock.steady()
        if run.failure is not None and run.final_status != "failed":
            self.begin_stop(run, failed=True, force=run.status == "starting")
        elif run.status == "starting":
            if all(node.follows(run.id, "ready") for node in self._involved(run)):
                run.started_at = now + LEAD_S
                start = undelayed(run.started_at, run.plan.pauses)
                self._keeper.change(run, status="running", batches=run.plan.released(start).batches)
        elif run.status == "running":
            if self.moving:
                self._release_moves(run)
            over = run.duration is not None and now >= run.started_at + run.duration
            if over or run.all_ended:
                self.begin_stop(run)
        elif run.status == "stopping":
            self._advance_stop(run, now)

    def _catch_up(self, run: Run) -> None:
        """Have users start who are to, and count them; for many nodes once for some time.

        Nodes that died together are lost within the second in which each would have reported: as
        long as more are silent, they are waited for. A new process is told at once what is its own.
        """
        now = clock.monotonic()
        waited = now - self._unhomed_since
        if self._joined or waited >= TOGETHER_S or (waited >= self.pause and not self._silent(now)):
            self.home(run)
        if self._uncounted and now - self._counted >= self.pause / 4:
            self.count_users(run)

    def _silent(self, now: float) -> bool:
        """Whether nodes have missed reports that are not lost yet."""
        return any(now - node.heard > SILENT_S for node in self.present)

    def _involved(self, run: Run) -> list[NodeView]:
        """Return the nodes that have users of the run, as far as they are heard."""
        names = _named(run.plan)
        return [node for node in self.present if node.name in names]

    def _advance_stop(self, run: Run, now: float) -> None:
        nodes, by_force_at = self.present, run.stopping_at + run.plan.options.stop_timeout
        if all(node.follows(run.id, "stopped") and node.complete for node in nodes):
            self._end(run)
        elif now > max(by_force_at, self._progressed, self._since) + ABANDON_S:
            self._keeper.event(
                "abandoned", "not every worker said that it stopped; they were killed"
            )
            self._end(run)
        elif not run.plan.force and now > by_force_at:
            patience = format_duration(run.plan.options.stop_timeout)
            self._keeper.event("stop", f"by force: users had not ended within {patience}")
            self._keeper.change(run, force=True)

    def _end(self, run: Run) -> None:
        self.count_users(run)
        run.ended_at = clock.steady()
        self._keeper.save()
        run.results.close_all()
        self._keeper.change(run, status=run.final_status)
        self._keeper.save(checkpoint=True)
        self.ended.set()


def _named(plan: Plan) -> set[str]:
    """Return the nodes that were ever given users."""
    return {name for made in plan.batches for name in made.nodes} | {
        name for move in plan.moves for name in move.heirs
    }
