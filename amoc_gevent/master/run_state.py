"""Owns the state of the current run: applies changes, stores and publishes them.

Other modules pass their decisions here as changes. Nothing else changes a run.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from gevent.event import Event as Flag

from amoc_gevent import clock
from amoc_gevent.bus.topics import BEAT, PLAN
from amoc_gevent.core.messages import Beat, Event, Failure, Report, encode
from amoc_gevent.core.run import lifecycle
from amoc_gevent.core.run.changes import (
    Change,
    EndRun,
    NewEvent,
    PlanChange,
    RaiseVersion,
    RunChange,
    TransientChange,
)
from amoc_gevent.core.run.node_events import NodeEvent
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.plan import Plan
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.run.transient import ALL_PLACED, Moment, TransientState
from amoc_gevent.errors import AmocError
from amoc_gevent.master.registry import NodeRegistry
from amoc_gevent.master.run_saver import RunSaver

log = logging.getLogger(__name__)

VERSIONS_LOST_MAX = 1_000_000
"""How many versions nodes may be ahead of the store. A larger lead is not a master's plan."""


class TopicPublisher(Protocol):
    """Sends messages to the subscribers of a topic: the publisher, or a list in tests."""

    def send(self, topic: bytes, *frames: bytes) -> None:
        """Send a message."""


def this_moment() -> Moment:
    """Return the current time by both clocks."""
    return Moment(clock.steady(), clock.monotonic())


class RunState:
    """Holds the current or last run, initially the one that the last master left active.

    Its users are on the nodes of `registry`. `publisher` sends the plan, `saver` stores the run.
    `ended` is set when the run has ended.
    """

    def __init__(self, publisher: TopicPublisher, registry: NodeRegistry, saver: RunSaver) -> None:
        self._publisher = publisher
        self._registry = registry
        self.saver = saver
        self._incarnation = uuid.uuid4().hex
        self.ended = Flag()
        self.published = 0.0
        self.version = 0
        self._refusals: set[tuple[int, str]] = set()
        self.run: Run | None = None
        self.transient = TransientState(since=clock.steady())
        left = self.saver.load_active()
        self.inherited = left is not None
        if left is not None:
            self.run, self.version = left, left.plan.version
            self.transient = replace(self.transient, unplaced_since=clock.monotonic())

    @property
    def plan(self) -> Plan:
        """The current plan."""
        return self.run.plan if self.run is not None else Plan(version=self.version)

    def begin(self, run: Run, code: bytes) -> None:
        """Start a new run. Its plan has the next version; `code` is its scenario's packed sources.

        Raises AmocError if the run cannot be stored; then nothing has changed.
        """
        self.saver.begin(run, code)
        self.inherited = False
        self.run, self.version = run, max(self.version, run.plan.version)
        self.transient = replace(self.transient, unplaced_since=ALL_PLACED, joined=frozenset())
        self.ended.clear()
        self.count_users()

    # Changes

    def advance(self) -> None:
        """Apply the changes that are due."""
        if self.run is not None:
            nodes = self._registry.nodes
            self.apply(lifecycle.advance(self.run, nodes, self.transient, this_moment()))

    def reassign_users(self) -> None:
        """Place the users of lost or restarted nodes again, without delay."""
        if self.run is not None:
            nodes = self._registry.nodes
            self.apply(lifecycle.reassign(self.run, nodes, self.transient, this_moment()))

    def count_users(self) -> None:
        """Count the users that the nodes report."""
        if self.run is not None:
            nodes = self._registry.nodes
            self.apply(lifecycle.count(self.run, nodes, self.transient, this_moment()))

    def react(self, event: NodeEvent) -> None:
        """Apply the effect of a node's event on the active run."""
        if self.run is not None and self.run.active:
            nodes, now = self._registry.nodes, this_moment()
            self.apply(lifecycle.react(self.run, nodes, self.transient, now, event))

    def apply(self, changes: Sequence[Change], *, must_store: bool = False) -> None:
        """Apply changes to the run in order. Store and publish each change of the plan.

        With `must_store`, a plan that cannot be stored raises AmocError; neither it nor the
        changes after it are applied. A restarted master would not know of the change, and would
        give the same ids to other users.
        """
        run = self.run
        for change in changes if run is not None else ():
            assert run is not None  # noqa: S101  # without a run the loop is empty
            match change:
                case PlanChange(fields):
                    self.change(run, must_store=must_store, **fields)
                case RunChange(fields):
                    for name, value in fields.items():
                        setattr(run, name, value)
                case TransientChange(fields):
                    self.transient = replace(self.transient, **fields)  # type: ignore[arg-type]
                case NewEvent(kind, text):
                    self.event(kind, text)
                case RaiseVersion(version):
                    self._raise_version(run, version)
                case EndRun(at):
                    self._end(run, at)

    def change(self, run: Run, *, must_store: bool = False, **fields: object) -> None:
        """Change the plan, store it and publish it. For `must_store` see `apply`."""
        before = run.plan
        run.plan = replace(before, version=self.version + 1, **fields)  # type: ignore[arg-type]
        if not self.saver.save() and must_store and self.saver.required:
            run.plan = before
            raise AmocError(f"{self.saver.store_error}; nothing was changed")
        self.version += 1
        self.publish()

    def _raise_version(self, run: Run, version: int) -> None:
        """Give the plan a newer version than the one nodes have from the last master.

        That master could not store its last changes, so they are lost. With an equal version, nodes
        would take their plan for this one.
        """
        if not self.version < version <= self.version + VERSIONS_LOST_MAX:
            return
        text = "the last master could not store its last plan changes: they are lost"
        log.warning("%s", text)
        self.event("plan-lost", text)
        self.version = version
        self.change(run)

    def _end(self, run: Run, at: float) -> None:
        run.ended_at = at
        self.saver.save()
        run.results.close_all()
        if run.failure is None and run.no_success:  # known only now that all figures are in
            run.failure, run.final_status = Failure(run.no_success), "failed"
        self.change(run, status=run.final_status)
        self.saver.save(checkpoint=True)
        self.ended.set()

    def add_report(self, node: NodeView, report: Report) -> None:
        """Add a report's measurements, events and ended users to the run it belongs to."""
        run = self.run
        if run is None or report.run != run.id:
            return
        if run.active:  # the clocks of an ended run no longer change
            run.clocks[node.name] = node.clock
        if not self.transient.uncounted:
            self.transient = replace(self.transient, uncounted=True)
        for first, last in report.ended:
            run.end_users(first, last)
        run.events.extend(event for event in report.events if not self._is_repeated(event))
        if self.inherited:
            self.apply(lifecycle.adopt_unsaved(run, node, report, this_moment()))
        for second, snapshot in report.seconds:
            health = [one for one in report.health if one.second == second]
            run.results.collect(second, snapshot, health, run.users)
        if report.failure is not None and run.failure is None:
            run.failure = report.failure
        if report.manifest is not None and run.active:
            self.apply(lifecycle.check_manifest(run, node, report.manifest))

    def _is_repeated(self, event: Event) -> bool:
        """Whether another worker refused the current proposal with the same words."""
        proposal = self.plan.proposal
        if event.kind != "set-refused" or proposal is None:
            return False
        refusal = (proposal.number, event.text)
        repeated = refusal in self._refusals
        self._refusals = {one for one in self._refusals if one[0] == proposal.number} | {refusal}
        return repeated

    def event(self, kind: str, text: str) -> None:
        """Record an event of the run."""
        if self.run is not None:
            self.run.events.append(Event(clock.wall(), kind, text))

    # The nodes

    def publish(self) -> None:
        """Send the whole plan to all nodes."""
        self.published = clock.monotonic()
        self._publisher.send(PLAN, encode(self._beat()), encode(self.plan))

    def beat(self) -> None:
        """Tell all nodes that the plan has not changed."""
        self.published = clock.monotonic()
        self._publisher.send(BEAT, encode(self._beat()))

    def _beat(self) -> Beat:
        return Beat(self._incarnation, clock.steady(), self.version)
