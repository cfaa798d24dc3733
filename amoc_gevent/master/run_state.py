"""The plan of the present run: changed, stored and published, in this order."""

import logging
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from amoc_gevent import clock
from amoc_gevent.bus.sockets import Publisher
from amoc_gevent.bus.topics import BEAT, PLAN
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import Beat, Event, Health, UserCounts, encode
from amoc_gevent.core.pending import Nothing, Output
from amoc_gevent.core.records import Events, Measured, Rows
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.plan import Plan
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import AmocError
from amoc_gevent.master.store import Part, Store, part_of
from amoc_gevent.master.trouble import Trouble

log = logging.getLogger(__name__)

CHECKPOINT_S = 60.0
RETRY_S = 1.0
"""How long a store that cannot be written is let alone: an attempt may cost as much as a write."""

VERSIONS_LOST_MAX = 1_000_000
"""By how many versions nodes may be ahead of the store; more than that is no plan of a master's."""

FAILURES = (sqlite3.Error, OSError, ValueError, OverflowError, AmocError)
"""Why something may not be written: the store, its disk, or a text that is no text."""

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
        self._trouble = Trouble(store.path) if store is not None else None
        self._code = b""
        self._parts: list[Part] = []
        self._events_saved = self._rows_saved = self._operations_saved = 0
        self._saved: object = None
        self._declared_saved: object = None
        self._generation = store.look() if store is not None else 0
        self._checkpoint = clock.monotonic()
        self._output: Output = Nothing()
        self.published = 0.0
        self.version = 0
        self.run: Run | None = None
        left = store.active() if store is not None else None
        self.inherited = left is not None
        if store is not None and left is not None:
            self._take_up(left, store.code(left.id))

    @property
    def plan(self) -> Plan:
        """The plan as it is now."""
        return self.run.plan if self.run is not None else Plan(version=self.version)

    @property
    def trouble(self) -> str:
        """A line that says why the store cannot be written; empty where it can."""
        if self._trouble is None:
            return ""
        return self._trouble.told(self.run, self._operations_saved if self.unwritten else None)

    @property
    def unwritten(self) -> bool:
        """Whether something of the run is not in the store."""
        run = self.run
        return run is not None and (bool(self._parts) or self._saved != _mark(run))

    def begin(self, run: Run, code: bytes) -> None:
        """Take up a new run, whose plan has the next version and whose scenario has these sources.

        Raises AmocError where it, or what is left of the last run, cannot be stored; then nothing
        has changed.
        """
        if self._store is not None:
            if not self.save():
                raise AmocError(f"{self.trouble}; nothing began")
            try:
                self._store.begin(run, code)
            except FAILURES as error:
                raise AmocError(f"{self._fail(error)}; nothing began") from error
        self.inherited = False
        self._take_up(run, code)

    def _take_up(self, run: Run, code: bytes) -> None:
        """Hold `run`, all of which is stored that it has now."""
        self.run, self.version = run, max(self.version, run.plan.version)
        self._code = code
        self._parts, self._checkpoint = [], clock.monotonic()
        self._events_saved, self._rows_saved = len(run.events), run.results.stored_rows
        self._operations_saved, self._saved = run.results.operations, _mark(run)
        self._declared_saved = run.declared

    def attach(self, output: Output | None) -> None:
        """Store what is pending of `output` with the figures; without one, nothing is pending."""
        self._output = output if output is not None else Nothing(self.pending())

    def pending(self) -> dict[str, bytes]:
        """Return what an earlier master's output left, by its keys."""
        return self._store.pending() if self._store is not None else {}

    def code(self) -> bytes:
        """Return the sources of the scenario."""
        return self._code

    def change(self, run: Run, *, must_store: bool = False, **changes: object) -> None:
        """Change the plan, store it and publish it.

        Where it must be stored and cannot be, nothing is changed, and AmocError is raised: a master
        that is started again would know nothing of it, and give the same ids to other users.
        """
        before = run.plan
        run.plan = replace(before, version=self.version + 1, **changes)  # type: ignore[arg-type]
        if not self.save() and must_store:
            run.plan = before
            raise AmocError(f"{self.trouble}; nothing was changed")
        self.version += 1
        self.publish()

    def surpass(self, version: int) -> None:
        """Give the plan a newer version than one that nodes have of the last master.

        What that one could not store is lost; under the same number they would take it for this.
        """
        if self.run is None or not self.version < version <= self.version + VERSIONS_LOST_MAX:
            return
        text = "the last master could not store its last changes of the plan: they are lost"
        log.warning("%s", text)
        self.event("plan-lost", text)
        self.version = version
        self.change(self.run)

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

    def save(self, *, checkpoint: bool = False, patient: bool = False) -> bool:
        """Add what was collected to the figures, and store all that is new since last time.

        Once a minute, and for a `checkpoint`, the figures are written as they stand, so that few
        parts need to be added up when they are read. What cannot be stored is kept for the next
        time, and the nodes keep their reports; return whether it could be. Who is `patient` does
        not try again within a second.
        """
        run, store = self.run, self._store
        if run is not None:
            run.results.settle(self._note)
        if store is None or self._trouble is None:
            return True
        if patient and self._trouble and clock.monotonic() - self._trouble.last < RETRY_S:
            return False
        all_ = bool(self._trouble)  # a write that has nothing to write would always succeed
        new = [n for n in self._nodes.values() if all_ or n.saved != n.acknowledged]
        numbers = {node.name: (node.incarnation, node.acknowledged) for node in new}
        try:
            generation = store.look()
            if run is not None:
                self._write(run, store, new, generation, whole=checkpoint or self._is_due())
            else:
                store.save_nodes(new, self._output.pending())
        except FAILURES as error:
            self._fail(error)
            return False
        if self._trouble:
            self._trouble.clear()
            store.be_patient(patient=True)
        self._output.stored()
        self._on_saved(numbers)
        return True

    def _fail(self, error: Exception) -> str:
        """Note that the store cannot be written; return a line about it."""
        assert self._store is not None  # noqa: S101  # it was written to
        assert self._trouble is not None  # noqa: S101  # it has one as well
        self._trouble.note(error)
        with suppress(*FAILURES):  # it is tried again and again: nobody shall wait each time
            self._store.be_patient(patient=False)
        return self.trouble

    def _is_due(self) -> bool:
        """Whether the figures are to be written as they stand."""
        return len(self._parts) > PARTS_MAX or clock.monotonic() - self._checkpoint > CHECKPOINT_S

    def _write(
        self, run: Run, store: Store, nodes: list[NodeView], generation: int, *, whole: bool
    ) -> None:
        anew = generation != self._generation
        whole, nodes = whole or anew, [*self._nodes.values()] if anew else nodes
        events = run.events[0 if anew else self._events_saved :]
        rows = run.results.rows[0 if anew else self._rows_saved :]
        parts = [part_of(Events(tuple(events)))] if events else []
        declared = run.declared
        if declared is not None and (anew or declared != self._declared_saved):
            parts.append(part_of(declared))
        if whole:
            parts += [part_of(Rows(tuple(rows))), part_of(run.results.state())]
        else:
            parts += self._parts
        store.save(
            run,
            parts,
            nodes,
            self._output.pending(),
            generation=generation,
            anew=self._code if anew else None,
        )
        self._generation = generation
        self._events_saved, self._parts = len(run.events), []
        self._declared_saved = declared
        self._operations_saved, self._saved = run.results.operations, _mark(run)
        if whole:
            self._rows_saved = len(run.results.rows)
            self._checkpoint = clock.monotonic()

    def _note(
        self, second: int, snapshot: Snapshot, health: list[Health], users: UserCounts
    ) -> None:
        if self._store is None or len(self._parts) > PARTS_MAX:
            return  # all is written at once as soon as it can be
        # Adding it to the figures changes it: so it is written now.
        self._parts.append(part_of(Measured(second, snapshot, tuple(health), users)))


def _mark(run: Run) -> object:
    """Return what is another one as soon as something but the figures of a run has changed."""
    return run.plan.version, len(run.events), run.ended_at, run.declared
