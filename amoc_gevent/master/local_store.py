"""The run store as `amoc run` and the console use it: their runs beside those of the master.

Both write the same file at the same time. A local run is claimed by its process: no master goes on
with it, and once the claim is gone without a stored end, it is shown as lost.
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
"""How long another process may be busy with making the file."""

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class LocalStore(Store):
    """Keeps the runs of this process. Nodes and outputs leave nothing in it."""

    required = False

    def __init__(self, path: Path) -> None:
        self._claimed = ""
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
        """Let go of the runs and close the database."""
        super().close()
        self._claims.release()

    def active(self) -> Run | None:
        """Return None: a local run ends with its process."""
        return None

    def nodes(self, now: float) -> list[NodeView]:  # noqa: ARG002  # the base's name
        """Return no nodes: the stored ones are the master's."""
        return []

    def pending(self) -> dict[str, bytes]:
        """Return nothing: what is pending is the master's."""
        return {}

    def save_nodes(
        self,
        nodes: Iterable[NodeView],
        pending: StateChanges = NO_CHANGES,
        *,
        generation: int | None = None,
        anew: bool = False,
    ) -> None:
        """Write nothing."""

    def forget_node(self, name: str) -> None:
        """Remove nothing."""

    def _save_run(self, db: sqlite3.Connection, run: Run) -> None:
        if self._claimed != run.id:
            self._claims.hold(run.id)
            self._claimed = run.id
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
