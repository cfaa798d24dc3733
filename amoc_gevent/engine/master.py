"""The master: keeps the plan, publishes it, takes in the nodes' reports and ends the run.

All that happens comes in through `handle(command)` or a node's report; the plan says the rest.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import gevent
from gevent.event import Event as Flag

from amoc_gevent import clock
from amoc_gevent.core.commands import Add, Command, Do, Remove, Set, Status, Stop
from amoc_gevent.core.messages import (
    Event,
    MessageError,
    Report,
    State,
    UserCounts,
    decode_report,
    encode,
)
from amoc_gevent.core.options import OPTIONS, changed_option
from amoc_gevent.core.plan import (
    UNRELEASED,
    Batch,
    Plan,
    Removal,
    highest_present,
    rotated,
)
from amoc_gevent.core.run import Run
from amoc_gevent.core.snapshot import Operation
from amoc_gevent.engine.bus import Publisher, Puller
from amoc_gevent.engine.loader import find
from amoc_gevent.errors import AmocError, UsageError

log = logging.getLogger(__name__)

PUBLISH_S = 1.0
TICK_S = 0.05
LEAD_S = 0.1
SET_TIMEOUT_S = 3.0
ABANDON_S = 10.0


@dataclass(slots=True)
class NodeView:
    """What the master knows of one node."""

    name: str
    incarnation: str
    state: State = "stopped"
    run: str = ""
    plan_version: int = 0
    users: UserCounts = field(default_factory=UserCounts)
    heard: float = 0.0
    acknowledged: int = 0
    ahead: set[int] = field(default_factory=set)

    def is_new(self, sequence: int) -> bool:
        """Note a report's number; False when that report was taken in before."""
        if sequence <= self.acknowledged or sequence in self.ahead:
            return False
        self.ahead.add(sequence)
        while self.acknowledged + 1 in self.ahead:
            self.acknowledged += 1
            self.ahead.remove(self.acknowledged)
        return True


class Master:
    """Runs one scenario at a time on the nodes that have joined."""

    def __init__(self, plans: str, reports: str, workers: int) -> None:
        self._publisher = Publisher(plans)
        self._puller = Puller(reports)
        self._workers = workers
        self._version = 0
        self._published = 0.0
        self.nodes: dict[str, NodeView] = {}
        self.run: Run | None = None
        self.ended = Flag()
        self.malformed = 0
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
        if not 1 <= command.first <= command.last:
            raise UsageError(
                f"users {command.first} to {command.last}: they begin at 1, the lowest first"
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
        self.run = Run(
            plan,
            command.first,
            command.last,
            command.comment,
            command.duration,
            workers=self._workers,
        )
        self.ended.clear()
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
        start = clock.steady() + LEAD_S if run.status == "running" else UNRELEASED
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
        """Change an option here, or a setting of the scenario and wait for what workers say."""
        run = self._growing()
        if command.name in OPTIONS:
            self._change(run, options=changed_option(run.plan.options, command.name, command.value))
            return {command.name: command.value}
        before, events_before = run.plan.settings, len(run.events)
        self._change(run, settings={**before, command.name: command.value})
        version, deadline = self._version, clock.monotonic() + SET_TIMEOUT_S
        while clock.monotonic() < deadline:
            refused = [e.text for e in run.events[events_before:] if e.kind == "set-refused"]
            if refused:
                self._change(run, settings=before)
                raise UsageError(refused[0])
            if all(node.plan_version >= version for node in self.nodes.values()):
                self._event("set", f"{command.name} = {command.value}")
                return {command.name: command.value}
            gevent.sleep(TICK_S)
        raise AmocError(f"{command.name}: not every worker answered within {SET_TIMEOUT_S:.0f} s")

    def _stop(self, command: Stop) -> dict[str, object]:
        run = self._active()
        self._begin_stop(run, force=command.force)
        return {"run": run.id, "status": run.status, "force": run.plan.force}

    def _status(self, _command: Status) -> dict[str, object]:
        run = self.run
        if run is None:
            return {"status": "idle", "nodes": len(self.nodes)}
        return {
            "run": run.id,
            "scenario": run.scenario,
            "status": run.status,
            "elapsed_s": round(run.elapsed(clock.steady()), 1),
            "nodes": len(self.nodes),
            "workers": run.workers,
            "users": {
                "waiting": run.users.waiting,
                "running": run.users.running,
                "resting": run.users.resting,
                "done": run.users.done,
            },
            "failure": run.failure.message if run.failure else None,
            "operations": {
                name: _operation_status(operation)
                for name, operation in run.results.total.operations.items()
            },
            "errors": [
                {"type": error.type, "place": error.place, "count": error.count}
                for error in run.results.total.errors.values()
            ],
        }

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
                self.malformed += 1
                log.error("%s", error)
                continue
            self._take(report)

    def _take(self, report: Report) -> None:
        node = self.nodes.get(report.source)
        if node is None or node.incarnation != report.incarnation:
            node = self.nodes[report.source] = NodeView(report.source, report.incarnation)
            self._publish()
        if not node.is_new(report.sequence):
            return
        node.heard = clock.monotonic()
        run = self.run
        if run is None or report.run != run.id:
            return
        node.state, node.run, node.users = report.state, report.run, report.users
        node.plan_version = report.plan_version
        run.users = sum((n.users for n in self.nodes.values()), UserCounts())
        for first, last in report.ended:
            run.ended_ids.add(first, last)
        run.events.extend(report.events)
        for second, snapshot in report.seconds:
            health = [one for one in report.health if one.second == second]
            run.results.add(second, snapshot, health, run.users)
        if report.failure is not None and run.failure is None:
            run.failure = report.failure

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
            if all(node.run == run.id and node.state == "ready" for node in self.nodes.values()):
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
        if all(node.run == run.id and node.state == "stopped" for node in self.nodes.values()):
            self._end(run)
        elif now > run.stopping_at + run.plan.options.stop_timeout + ABANDON_S:
            self._event("abandoned", "not every worker said that it stopped; they were killed")
            self._end(run)
        elif not run.plan.force and now > run.stopping_at + run.plan.options.stop_timeout:
            self._change(run, force=True)

    def _end(self, run: Run) -> None:
        run.ended_at = clock.steady()
        run.results.close_all()
        self._change(run, status=run.final_status)
        self.ended.set()

    def _event(self, kind: str, text: str) -> None:
        if self.run is not None:
            self.run.events.append(Event(clock.wall(), kind, text))


def _operation_status(operation: Operation) -> dict[str, object]:
    p50, p95 = operation.latency.percentiles((0.5, 0.95))
    return {
        "count": operation.count,
        "errors": operation.errors,
        "interrupted": operation.interrupted,
        "p50_us": p50,
        "p95_us": p95,
    }
