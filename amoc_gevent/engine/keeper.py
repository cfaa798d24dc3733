"""The plan of the present run: changed, stored and published, in this order."""

import logging
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from amoc_gevent import clock
from amoc_gevent.core.messages import Beat, Event, Health, UserCounts, encode
from amoc_gevent.core.nodes import NodeView
from amoc_gevent.core.plan import Plan
from amoc_gevent.core.records import Events, Measured
from amoc_gevent.core.run import Run
from amoc_gevent.core.snapshot import Snapshot
from amoc_gevent.engine.bus import Publisher
from amoc_gevent.engine.store import Part, Store, part_of
from amoc_gevent.engine.topics import BEAT, PLAN

log = logging.getLogger(__name__)


class Keeper:
    """Holds the run that goes on, or that ended last; `store` (if any) keeps it over a restart.

    `nodes` are the master's; `on_saved` is told up to which of their reports all is stored.
    """

    def __init__(
        self,
        publisher: Publisher,
        nodes: Mapping[str, NodeView],
        store: Store | None,
        on_saved: Callable[[dict[str, tuple[str, int]]], None],
    ) -> None:
        self._publisher = publisher
        self._nodes = nodes
        self._store = store
        self._on_saved = on_saved
        self._life = uuid.uuid4().hex
        self._parts: list[Part] = []
        self._events_saved = 0
        self._unwritten = False
        self.published = 0.0
        self.run: Run | None = store.active() if store is not None else None
        self.version = 0
        if self.run is not None:
            self.version = self.run.plan.version
            self._events_saved = len(self.run.events)

    @property
    def plan(self) -> Plan:
        """The plan as it is now."""
        return self.run.plan if self.run is not None else Plan(version=self.version)

    def begin(self, run: Run) -> None:
        """Take up a new run, whose plan has the next version."""
        self.version = run.plan.version
        self._parts, self._events_saved = [], 0
        self.run = run
        if self._store is not None:
            self._store.prune()

    def change(self, run: Run, **changes: object) -> None:
        """Change the plan, store it and publish it."""
        self.version += 1
        run.plan = replace(run.plan, version=self.version, **changes)  # type: ignore[arg-type]
        self.save()
        self.publish()

    def event(self, kind: str, text: str) -> None:
        """Note something of the run that is worth knowing."""
        if self.run is not None:
            self.run.events.append(Event(clock.wall(), kind, text))

    def publish(self) -> None:
        """Tell all nodes the whole plan."""
        self.published = clock.monotonic()
        self._publisher.tell(PLAN, encode(self._beat()), encode(self.plan))

    def beat(self) -> None:
        """Tell all nodes that the plan is the one that they have."""
        self.published = clock.monotonic()
        self._publisher.tell(BEAT, encode(self._beat()))

    def _beat(self) -> Beat:
        return Beat(self._life, clock.steady(), self.version)

    def save(self) -> None:
        """Add what was collected to the figures, and store all that is new since last time.

        Where it cannot be stored it is kept for the next time, and the nodes keep their reports.
        """
        run, store = self.run, self._store
        if run is not None:
            run.results.settle(self._note)
        if store is None:
            return
        new = [node for node in self._nodes.values() if node.saved != node.acknowledged]
        numbers = {node.name: (node.incarnation, node.acknowledged) for node in new}
        try:
            if run is None:
                store.save_nodes(new)
            else:
                told = run.events[self._events_saved :]
                parts = [*self._parts, *([part_of(Events(tuple(told)))] if told else [])]
                store.save(run, parts, new)
                self._events_saved += len(told)
                self._parts = []
        except sqlite3.Error as error:
            if not self._unwritten:
                log.error("the run store cannot be written: %s", error)
            self._unwritten = True
            return
        self._unwritten = False
        self._on_saved(numbers)

    def _note(
        self, second: int, snapshot: Snapshot, health: list[Health], users: UserCounts
    ) -> None:
        if self._store is not None:  # adding it to the figures changes it: so it is written now
            self._parts.append(part_of(Measured(second, snapshot, tuple(health), users)))
