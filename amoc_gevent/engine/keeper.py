"""The plan of the present run: changed, stored and published, in this order."""

import logging
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from amoc_gevent import clock
from amoc_gevent.core.messages import Beat, Event, Health, UserCounts, encode
from amoc_gevent.core.nodes import NodeView
from amoc_gevent.core.pending import Nothing, Output
from amoc_gevent.core.plan import Plan
from amoc_gevent.core.records import Events, Measured, Rows
from amoc_gevent.core.run import Run
from amoc_gevent.core.snapshot import Snapshot
from amoc_gevent.engine.bus import Publisher
from amoc_gevent.engine.store import Part, Store, part_of
from amoc_gevent.engine.topics import BEAT, PLAN
from amoc_gevent.errors import AmocError

log = logging.getLogger(__name__)

CHECKPOINT_S = 60.0
PARTS_MAX = 1000
"""Parts that wait to be written before the figures as they stand are written instead of them."""


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
        self._events_saved = self._rows_saved = 0
        self._checkpoint = clock.monotonic()
        self._unwritten = False
        self._output: Output = Nothing()
        self.published = 0.0
        self.version = 0
        self.run: Run | None = None
        left = store.active() if store is not None else None
        if left is not None:
            self._take_up(left)

    @property
    def plan(self) -> Plan:
        """The plan as it is now."""
        return self.run.plan if self.run is not None else Plan(version=self.version)

    def begin(self, run: Run, code: bytes) -> None:
        """Take up a new run, whose plan has the next version and whose scenario has these sources.

        Raises AmocError where it cannot be stored.
        """
        self.save()
        before = self.run
        self._take_up(run)
        if self._store is None:
            return
        try:
            self._store.prune()
            self._store.save(run)
            self._store.save_code(run.id, code)
        except sqlite3.Error as error:
            if before is not None:
                self._take_up(before)
            self.run = before
            raise AmocError(f"the run store cannot be written: {error}; nothing began") from error

    def _take_up(self, run: Run) -> None:
        """Hold `run`, all of which is stored that it has now."""
        self.run, self.version = run, max(self.version, run.plan.version)
        self._parts, self._checkpoint = [], clock.monotonic()
        self._events_saved, self._rows_saved = len(run.events), len(run.results.rows)

    def attach(self, output: Output | None) -> None:
        """Store what is pending of `output` with the figures; without one, nothing is pending."""
        self._output = output if output is not None else Nothing(self.pending())

    def pending(self) -> dict[str, bytes]:
        """Return what an earlier master's output left, by its keys."""
        return self._store.pending() if self._store is not None else {}

    def code(self) -> bytes:
        """Return the sources of the scenario, as an earlier master has stored them."""
        if self._store is None or self.run is None:
            return b""
        return self._store.code(self.run.id)

    def change(self, run: Run, *, must_store: bool = False, **changes: object) -> None:
        """Change the plan, store it and publish it.

        Where it must be stored and cannot be, nothing is changed, and AmocError is raised.
        """
        before = run.plan
        self.version += 1
        run.plan = replace(before, version=self.version, **changes)  # type: ignore[arg-type]
        if not self.save() and must_store:
            run.plan = replace(before, version=self.version)
            raise AmocError("the run store cannot be written, see the log; nothing was changed")
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

    def save(self, *, checkpoint: bool = False) -> bool:
        """Add what was collected to the figures, and store all that is new since last time.

        Once a minute, and for a `checkpoint`, the figures are written as they stand, so that few
        parts need to be added up when they are read. What cannot be stored is kept for the next
        time, and the nodes keep their reports; return whether it could be.
        """
        run, store = self.run, self._store
        if run is not None:
            run.results.settle(self._note)
        if store is None:
            return True
        new = [node for node in self._nodes.values() if node.saved != node.acknowledged]
        numbers = {node.name: (node.incarnation, node.acknowledged) for node in new}
        try:
            if run is None:
                store.save_nodes(new, self._output.pending())
            else:
                self._write(run, store, new, whole=checkpoint or self._is_due())
        except (sqlite3.Error, ValueError, OverflowError) as error:
            if not self._unwritten:
                log.error("the run store cannot be written: %s", error)
            self._unwritten = True
            return False
        self._unwritten = False
        self._output.stored()
        self._on_saved(numbers)
        return True

    def _is_due(self) -> bool:
        """Whether the figures are to be written as they stand."""
        return len(self._parts) > PARTS_MAX or clock.monotonic() - self._checkpoint > CHECKPOINT_S

    def _write(self, run: Run, store: Store, nodes: list[NodeView], *, whole: bool) -> None:
        events, rows = run.events[self._events_saved :], run.results.rows[self._rows_saved :]
        parts = [part_of(Events(tuple(events)))] if events else []
        if whole:
            parts += [part_of(Rows(tuple(rows))), part_of(run.results.state())]
        else:
            parts += self._parts
        store.save(run, parts, nodes, self._output.pending())
        self._events_saved += len(events)
        self._parts = []
        if whole:
            self._rows_saved += len(rows)
            self._checkpoint = clock.monotonic()

    def _note(
        self, second: int, snapshot: Snapshot, health: list[Health], users: UserCounts
    ) -> None:
        if self._store is None or len(self._parts) > PARTS_MAX:
            return  # all is written at once as soon as it can be
        # Adding it to the figures changes it: so it is written now.
        self._parts.append(part_of(Measured(second, snapshot, tuple(health), users)))
