"""Saves the current run: writes what is new since the last save to the run store.

Once a minute it writes the totals, so that a reader adds up few parts. Data that cannot be stored
is kept for the next save.
"""

import logging
import sqlite3
from contextlib import suppress

from amoc_gevent import clock
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import Health, UserCounts
from amoc_gevent.core.output_state import DiscardedState, StateSource
from amoc_gevent.core.records import Events, Measured, Rows
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import AmocError
from amoc_gevent.master.registry import NodeRegistry
from amoc_gevent.master.run_parts import Part, part_of
from amoc_gevent.master.store import Store
from amoc_gevent.master.store_outage import StoreOutage

log = logging.getLogger(__name__)

CHECKPOINT_S = 60.0
RETRY_S = 1.0
"""Pause after a failed write: an attempt may cost as much as a successful write."""

NOWHERE = -1
"""The generation of a run that is in no file: the next successful save writes all of it."""

FAILURES = (sqlite3.Error, OSError, ValueError, OverflowError, AmocError)
"""The errors of a failed write: from the store, its disk, or an unencodable text."""

PARTS_MAX = 1000
"""Pending parts beyond which the totals are written instead."""


class RunSaver:
    """Writes its run to `store`, if there is one, with the nodes of `registry`.

    It tells the registry which reports are stored. `code` is the scenario's packed sources.
    """

    def __init__(self, registry: NodeRegistry, store: Store | None) -> None:
        self._registry = registry
        self._store = store
        self._outage = StoreOutage(store.path) if store is not None else None
        self._run: Run | None = None
        self.code = b""
        self._parts: list[Part] = []
        self._events_saved = self._rows_saved = self._operations_saved = 0
        self._saved: object = None
        self._declared_saved: object = None
        self._generation = store.current_generation() if store is not None else 0
        self._checkpoint = clock.monotonic()
        self._output: StateSource = DiscardedState()

    def load_active(self) -> Run | None:
        """Load, hold and return the run that was active when the last master ended, if any."""
        if self._store is None:
            return None
        run = self._store.active()
        if run is not None:
            self._hold(run, self._store.code(run.id))
        return run

    @property
    def store_error(self) -> str:
        """One line with the reason why the store cannot be written, or an empty string."""
        if self._outage is None:
            return ""
        return self._outage.describe(self._run, self._operations_saved if self.unwritten else None)

    @property
    def required(self) -> bool:
        """Whether a change that cannot be stored must be refused."""
        return self._store is not None and self._store.required

    @property
    def unwritten(self) -> bool:
        """Whether part of the run is not yet in the store."""
        run = self._run
        return run is not None and (bool(self._parts) or self._saved != _mark(run))

    def begin(self, run: Run, code: bytes) -> None:
        """Store a new run with its sources, and hold it.

        Raises AmocError if a required store cannot take it, or the rest of the last run. Then
        nothing has changed.
        """
        if self._store is not None:
            if not self.save() and self._store.required:
                raise AmocError(f"{self.store_error}; no run was started")
            try:
                self._store.begin(run, code)
            except FAILURES as error:
                store_error = self._fail(error)
                if self._store.required:
                    raise AmocError(f"{store_error}; no run was started") from error
                self._generation = NOWHERE
        self._hold(run, code)

    def _hold(self, run: Run, code: bytes) -> None:
        """Hold `run`, whose present content is all stored."""
        self._run, self.code = run, code
        self._parts, self._checkpoint = [], clock.monotonic()
        self._events_saved, self._rows_saved = len(run.events), run.results.stored_rows
        self._operations_saved, self._saved = run.results.operations, _mark(run)
        self._declared_saved = run.declared

    def attach(self, output: StateSource | None) -> None:
        """Store the pending data of `output` with the run. None means that nothing is pending."""
        self._output = output if output is not None else DiscardedState(self.pending())

    def pending(self) -> dict[str, bytes]:
        """Return the pending data that an earlier master's output stored, by key."""
        return self._store.pending() if self._store is not None else {}

    def forget(self, node: NodeView) -> None:
        """Remove a node that has left from the store."""
        if self._store is not None:
            with suppress(*FAILURES):  # then the next master knows the node, and finds it lost
                self._store.forget_node(node.name)

    def save(self, *, checkpoint: bool = False, back_off: bool = False) -> bool:
        """Merge the collected measurements, and store everything new since the last save.

        Once a minute, and with `checkpoint`, write the totals. Return whether the save succeeded;
        if not, the data is kept for the next save and the nodes keep their reports. With
        `patient`, do not retry within `RETRY_S` of a failure.
        """
        run, store = self._run, self._store
        if run is not None:
            run.results.merge_collected(self._note)
        if store is None or self._outage is None:
            return True
        if back_off and self._outage and clock.monotonic() - self._outage.last < RETRY_S:
            return False
        all_ = bool(self._outage)  # an empty write would always succeed, and prove nothing
        new = self._registry.unsaved(every=all_)
        numbers = {node.name: (node.incarnation, node.acknowledged) for node in new}
        try:
            generation = store.current_generation()
            if run is not None:
                self._write(run, store, new, generation, whole=checkpoint or self._is_due())
            else:
                self._write_nodes(store, new, generation)
        except FAILURES as error:
            self._fail(error)
            return False
        self._output.stored()
        self._registry.saved(numbers)
        if self._outage:
            self._outage.clear()
            with suppress(*FAILURES):
                store.wait_for_locks(enabled=True)
        return True

    def _fail(self, error: Exception) -> str:
        """Record that the store cannot be written, and return a line about it."""
        assert self._store is not None  # noqa: S101  # it was written to
        assert self._outage is not None  # noqa: S101  # it has one as well
        self._outage.note(error)
        with suppress(*FAILURES):  # later attempts must not block each time
            self._store.wait_for_locks(enabled=False)
        return self.store_error

    def _is_due(self) -> bool:
        """Whether the totals are due to be written."""
        return len(self._parts) > PARTS_MAX or clock.monotonic() - self._checkpoint > CHECKPOINT_S

    def _write(
        self, run: Run, store: Store, nodes: list[NodeView], generation: int, *, whole: bool
    ) -> None:
        rewrite = generation != self._generation
        whole, nodes = whole or rewrite, self._registry.unsaved(every=True) if rewrite else nodes
        events = run.events[0 if rewrite else self._events_saved :]
        rows = run.results.rows[0 if rewrite else self._rows_saved :]
        parts = [part_of(Events(tuple(events)))] if events else []
        declared = run.declared
        if declared is not None and (rewrite or declared != self._declared_saved):
            parts.append(part_of(declared))
        if whole:
            parts += [part_of(Rows(tuple(rows))), part_of(run.results.state())]
        else:
            parts += self._parts
        store.save(
            run,
            parts,
            nodes,
            self._output.pending(full=rewrite),
            generation=generation,
            rewrite=self.code if rewrite else None,
        )
        self._generation = generation
        self._events_saved, self._parts = len(run.events), []
        self._declared_saved = declared
        self._operations_saved, self._saved = run.results.operations, _mark(run)
        if whole:
            self._rows_saved = len(run.results.rows)
            self._checkpoint = clock.monotonic()

    def _write_nodes(self, store: Store, nodes: list[NodeView], generation: int) -> None:
        rewrite = generation != self._generation
        nodes = self._registry.unsaved(every=True) if rewrite else nodes
        store.save_nodes(
            nodes, self._output.pending(full=rewrite), generation=generation, rewrite=rewrite
        )
        self._generation = generation

    def _note(
        self, second: int, snapshot: Snapshot, health: list[Health], users: UserCounts
    ) -> None:
        if self._store is None or len(self._parts) > PARTS_MAX:
            return  # the next successful save writes the totals
        # Encoded now, because merging it into the totals changes it.
        self._parts.append(part_of(Measured(second, snapshot, tuple(health), users)))


def _mark(run: Run) -> object:
    """Return a value that differs once anything but the measurements of the run has changed."""
    return run.plan.version, len(run.events), run.ended_at, run.declared
