"""The run store for `amoc run` and the console, whose runs are stored beside the master's.

Both write the same file concurrently. The process of a local run locks it, and no master resumes
it. If the lock ends before the run's end is stored, the run is shown as lost.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from amoc_gevent import clock
from amoc_gevent.core.output_state import NO_CHANGES, StateChanges
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.run import Run
from amoc_gevent.master.database import StoreError, code_of
from amoc_gevent.master.store import Store

OPEN_S = 2.0
"""How long to wait for another process that is creating the file."""

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class LocalStore(Store):
    """Stores the runs of this process, but no nodes and no pending data of outputs."""

    required = False

    def __init__(self, path: Path) -> None:
        self._locked_run = ""
        deadline = clock.monotonic() + OPEN_S
        while True:
            try:
                super().__init__(path)
            except StoreError as error:
                cause = error.__cause__
                if cause is None or code_of(cause) not in BUSY or clock.monotonic() > deadline:
                    raise
            else:
                return

    def close(self) -> None:
        """Close the database and release the locks on the runs."""
        super().close()
        self._locks.release()

    def active(self) -> Run | None:
        """Return None: a local run ends with its process."""
        return None

    def nodes(self, now: float) -> list[NodeView]:  # noqa: ARG002  # the base's name
        """Return no nodes: the stored ones are the master's."""
        return []

    def pending(self) -> dict[str, bytes]:
        """Return nothing: pending data is the master's."""
        return {}

    def save_nodes(
        self,
        nodes: Iterable[NodeView],
        pending: StateChanges = NO_CHANGES,
        *,
        generation: int | None = None,
        rewrite: bool = False,
    ) -> None:
        """Write nothing."""

    def forget_node(self, name: str) -> None:
        """Remove nothing."""

    def _save_run(self, db: sqlite3.Connection, run: Run) -> None:
        if self._locked_run != run.id:
            self._locks.hold(run.id)
            self._locked_run = run.id
        db.execute("INSERT OR IGNORE INTO local VALUES (?)", (run.id,))
        super()._save_run(db, run)

    def _is_a_masters(self, run: Run) -> bool:  # noqa: ARG002  # the base's name
        return False

    def _save_nodes(self, db: sqlite3.Connection, nodes: Iterable[NodeView]) -> None:
        pass

    def _save_pending(self, db: sqlite3.Connection, pending: StateChanges) -> None:
        pass

    def _drop_pending(self, db: sqlite3.Connection) -> None:
        pass
