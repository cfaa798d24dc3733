"""The master: keeps the plan, publishes it, takes in the nodes' reports and ends the run.

All that happens comes in through `handle(command)` or a node's report; the plan says the rest.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import replace

import gevent
from gevent.event import Event as Flag
from gevent.lock import BoundedSemaphore

from amoc_gevent import clock
from amoc_gevent.core.commands import Add, Command, Do, Remove, Set, Status, Stop
from amoc_gevent.core.messages import (
    Event,
    MessageError,
    Report,
    UserCounts,
    decode_report,
    encode,
)
from amoc_gevent.core.nodes import NodeView
from amoc_gevent.core.options import OPTIONS, changed_option
from amoc_gevent.core.plan import (
    UNRELEASED,
    Batch,
    Plan,
    Proposal,
    Removal,
    highest_present,
    next_slot,
    rotated,
)
from amoc_gevent.core.run import Run
from amoc_gevent.core.status import status_of
from amoc_gevent.engine.bus import Publisher, Puller
from amoc_gevent.engine.loader import find
from amoc_gevent.engine.refusals import Refusals
from amoc_gevent.errors import AmocError, UsageError

log = logging.getLogger(__name__)

PUBLISH_S = 1.0
TICK_S = 0.05
LEAD_S = 0.1
SET_TIMEOUT_S = 3.0
ABANDON_S = 10.0
ID_MAX = 2**53
"""Ids travel as JSON numbers too, which are exact up to here."""


class Master:
    """Runs one scenario at a time on the nodes that have joined."""

    def __init__(self, plans: str, reports: str, workers: int) -> None:
        self._publisher = Publisher(plans)
        self._puller = Puller(reports)
        self._workers = workers
        self._version = 0
        self._published = 0.0
        self._progressed = 0.0
        self.nodes: dict[str, NodeView] = {}
        self.run: Run | None = None
        self.ended = Flag()
        self._refusals = Refusals()
        self._setting = BoundedSemaphore()
        self._loops = [gevent.spawn(self._collect), gevent.spawn(self._tick)]
        self._handlers: dict[type, Callable[..., dict[str, object]]] = {
            Do: self._do,
            Add: self._add,
            Remove: self._remove,
            Set: self._set,
            Stop: self._stop,
            Status: self._status,
        }

    def close(self) -> None:
        """Stop and close the sockets."""
        gevent.killall(self._loops)
        self._publisher.close()
        self._puller.close()

    def handle(self, command: Command) -> dict[str, object]:
        """Carry out one command and return its answer, or raise an AmocError of one line."""
        return self._handlers[type(command)](command)

    def _do(self, command: Do) -> dict[str, object]:
        if self.run is not None and self.run.active:
            raise AmocError(f"run {self.run.id} is {self.run.status}: stop it before the next one")
        if not self.nodes:
            raise AmocError("no node has joined this master yet")
        if not 1 <= command.first <= command.last <= ID_MAX:
            raise UsageError(
                f"users {command.first} to {command.last}: they begin at 1, the lowest first, "
                f"and end at {ID_MAX}"
            )
        path = find(command.scenario)
        nodes = tuple(self.nodes)
        rate = command.options.user_rate
        self._version += 1
        plan = Plan(
            version=self._version,
            run=uuid.uuid4().hex[:12],
            status="starting",
            scenario=str(path),
            settings=dict(command.settings),
            options=command.options,
            batches=(Batch(command.first, command.last, UNRELEASED, rate, nodes),),
        )
        self._refusals = Refusals()
        self.run = Run(
            plan,
            command.first,
            command.last,
            command.comment,
            command.duration,
            workers=self._workers,
        )
        self.ended.clear()
        self._count_users(self.run)
        self._event("start", f"{self.run.scenario} with users {command.first} to {command.last}")
        self._publish()
        return {"run": plan.run, "users": command.last - command.first + 1}

    def _active(self) -> Run:
        if self.run is None or not self.run.active:
            raise AmocError("there is no run: start one with `do SCENARIO FIRST LAST`")
        return self.run

    def _growing(self) -> Run:
        run = self._active()
        if run.status == "stopping":
            raise AmocError(f"run {run.id} is stopping")
        return run

    def _add(self, command: Add) -> dict[str, object]:
        run = self._growing()
        if command.count < 1:
            raise UsageError(f"add {command.count}: give a number of users, 1 or more")
        plan, first = run.plan, run.plan.highest + 1
        if first + command.count - 1 > ID_MAX:
            raise UsageError(f"add {command.count}: ids end at {ID_MAX}")
        start = UNRELEASED
        if run.status == "running":
            start = next_slot(plan, run.ended_ids, clock.steady() + LEAD_S)
        batch = Batch(
            first,
            first + command.count - 1,
            start,
            plan.options.user_rate,
            rotated(tuple(self.nodes), plan.batches),
        )
        self._change(run, batches=(*plan.batches, batch))
        self._event("add", f"{command.count} users, {batch.first} to {batch.last}")
        return {"first": batch.first, "last": batch.last}

    def _remove(self, command: Remove) -> dict[str, object]:
        run = self._growing()
        if command.count < 1:
            raise UsageError(f"remove {command.count}: give a number of users, 1 or more")
        chosen = highest_present(run.plan, run.ended_ids, command.count)
        removals = tuple(Removal(first, last, command.force) for first, last in chosen)
        self._change(run, removals=run.plan.removals + removals)
        count = sum(last - first + 1 for first, last in chosen)
        self._event("remove", f"{count} users{' by force' if command.force else ''}")
        return {"removed": count}

    def _set(self, command: Set) -> dict[str, object]:
        """Change an option here, or propose a setting to the workers and hear what they say."""
        run = self._growing()
        if command.name in OPTIONS:
            self._change(run, options=changed_option(run.plan.options, command.name, command.value))
        else:
            with self._setting:
                self._propose(command)
        self._event("set", f"{command.name} = {command.value}")
        return {command.name: command.value}

    def _propose(self, command: Set) -> None:
        """Have each worker try a setting; it is part of the plan once none of them refused."""
        run = self._growing()
        if run.status == "starting":
            raise AmocError(f"run {run.id} is starting: set {command.name} once it runs")
        told = len(run.events)
        self._change(run, proposal=Proposal(self._version + 1, command.name, command.value))
        version, deadline = self._version, clock.monotonic() + SET_TIMEOUT_S
        try:
            while any(node.plan_version < version for node in self.nodes.values()):
                if clock.monotonic() > deadline:
                    raise AmocError(
                        f"{command.name}: not every worker answered within {SET_TIMEOUT_S:.0f} s, "
                        "some may have taken the value; set it again"
                    )
                gevent.sleep(TICK_S)
        finally:
            self._change(run, proposal=None)
        for event in run.events[told:]:
            if event.kind == "set-refused":
                raise UsageError(event.text)
        self._change(run, settings={**run.plan.settings, command.name: command.value})

    def _stop(self, command: Stop) -> dict[str, object]:
        run = self._active()
        self._begin_stop(run, force=command.force)
        return {"run": run.id, "status": run.status, "force": run.plan.force}

    def _status(self, _command: Status) -> dict[str, object]:
        return status_of(self.run, len(self.nodes), clock.steady())

    def _begin_stop(self, run: Run, *, force: bool = False, failed: bool = False) -> None:
        if failed:
            run.final_status = "failed"
        if run.status != "stopping":
            run.stopping_at = clock.steady()
            self._event("stop", "by force" if force else "gently")
        self._change(run, status="stopping", force=force or run.plan.force)

    def _change(self, run: Run, **changes: object) -> None:
        self._version += 1
        run.plan = replace(run.plan, version=self._version, **changes)  # type: ignore[arg-type]
        self._count_users(run)
        self._publish()

    def _publish(self) -> None:
        """Publish the plan as it is now."""
        plan = self.run.plan if self.run is not None else Plan()
        acks = {n.name: (n.incarnation, n.acknowledged) for n in self.nodes.values()}
        self._published = clock.monotonic()
        self._publisher.publish(encode(replace(plan, time=clock.steady(), acks=acks)))

    def _collect(self) -> None:
        while True:
            try:
                report = decode_report(self._puller.pull())
            except MessageError as error:
                log.error("%s", error)
                refused = self._refusals.event("a node", error)
                if refused is not None and self.run is not None and self.run.active:
                    self.run.events.append(refused)
                continue
            self._take(report)

    def _take(self, report: Report) -> None:
        node = self.nodes.get(report.source)
        if node is None or node.incarnation != report.incarnation:
            node = self.nodes[report.source] = NodeView(report.source, report.incarnation)
            self._publish()
        if not node.is_new(report):
            return
        node.note(report)
        run = self.run
        if run is None or report.run != run.id:
            return
        self._count_users(run)
        for first, last in report.ended:
            run.ended_ids.add(first, last)
        run.events.extend(report.events)
        for second, snapshot in report.seconds:
            health = [one for one in report.health if one.second == second]
            run.results.add(second, snapshot, health, run.users)
        if report.failure is not None and run.failure is None:
            run.failure = report.failure

    def _count_users(self, run: Run) -> None:
        nodes = (node for node in self.nodes.values() if node.run == run.id)
        before = run.users.running
        run.count_users(sum((node.users for node in nodes), UserCounts()))
        if run.users.running != before:
            self._progressed = clock.steady()

    def _tick(self) -> None:
        while True:
            run = self.run
            if run is not None and run.active:
                self._advance(run)
            interval = TICK_S * 2 if run is not None and run.status == "starting" else PUBLISH_S
            if clock.monotonic() - self._published >= interval:
                self._publish()
            gevent.sleep(TICK_S)

    def _advance(self, run: Run) -> None:
        """Take the run to its next status when it is due."""
        now = clock.steady()
        if run.failure is not None and run.final_status != "failed":
            self._begin_stop(run, failed=True, force=run.status == "starting")
        elif run.status == "starting":
            if all(node.follows(run.id, "ready") for node in self.nodes.values()):
                run.started_at = now + LEAD_S
                self._change(run, status="running", batches=run.plan.released(now + LEAD_S).batches)
        elif run.status == "running":
            over = run.duration is not None and now >= run.started_at + run.duration
            if over or self._all_ended(run):
                self._begin_stop(run)
        elif run.status == "stopping":
            self._advance_stop(run, now)

    def _all_ended(self, run: Run) -> bool:
        """Whether every user ended, and not all of them because they were removed."""
        return run.users.done == run.assigned and run.removed < run.assigned

    def _advance_stop(self, run: Run, now: float) -> None:
        nodes, by_force_at = self.nodes.values(), run.stopping_at + run.plan.options.stop_timeout
        if all(node.follows(run.id, "stopped") and node.complete for node in nodes):
            self._end(run)
        elif now > max(by_force_at, self._progressed) + ABANDON_S:
            self._event("abandoned", "not every worker said that it stopped; they were killed")
            self._end(run)
        elif not run.plan.force and now > by_force_at:
            self._change(run, force=True)

    def _end(self, run: Run) -> None:
        run.ended_at = clock.steady()
        run.results.close_all()
        self._change(run, status=run.final_status)
        self.ended.set()

    def _event(self, kind: str, text: str) -> None:
        if self.run is not None:
            self.run.events.append(Event(clock.wall(), kind, text))
