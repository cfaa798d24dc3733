"""The run store: an SQLite database (WAL) from which a master goes on, and which keeps past runs.

What is written is safe from the death of the master's process at once. It is not forced to the disk
each time, so a power failure may cost the last moments.
"""

import logging
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from amoc_gevent import __version__
from amoc_gevent.core import records
from amoc_gevent.core.nodes import NodeView
from amoc_gevent.core.pending import NOTHING, Pending
from amoc_gevent.core.records import Events, Measured, NodeRecord, RecordError, Rows, RunRecord
from amoc_gevent.core.results import Row, State
from amoc_gevent.core.run import Run
from amoc_gevent.errors import AmocError

log = logging.getLogger(__name__)

RUNS_KEPT = 100

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, number INTEGER, version TEXT, active INTEGER, began REAL, ended REAL,
    scenario TEXT, status TEXT, users INTEGER, operations INTEGER, comment TEXT, record BLOB);
CREATE TABLE IF NOT EXISTS parts (run TEXT, kind TEXT, data BLOB);
CREATE INDEX IF NOT EXISTS parts_of_run ON parts (run);
CREATE TABLE IF NOT EXISTS nodes (name TEXT PRIMARY KEY, data BLOB);
CREATE TABLE IF NOT EXISTS pending (key TEXT PRIMARY KEY, data BLOB);
"""
BUSY_S = 0.2
"""How long another process, such as a backup, may keep the database from being written."""

COUNT_MAX = 2**63 - 1
"""SQLite's greatest number."""

Kept = Measured | Rows | State | Events
_KINDS: dict[str, type[Kept]] = {
    "measured": Measured,
    "rows": Rows,
    "state": State,
    "events": Events,
}


Part = tuple[str, bytes]
"""A part of a run as it is stored: its kind and its bytes."""


def part_of(record: Kept) -> Part:
    """Return a record as it is stored."""
    kind = next(kind for kind, found in _KINDS.items() if isinstance(record, found))
    return kind, records.encode(record)


@dataclass(frozen=True, slots=True)
class Line:
    """One run in the list of runs; times in seconds since 1970, 0 where it has not come so far."""

    run: str
    scenario: str
    status: str
    began: float
    ended: float
    users: int
    operations: int
    comment: str


class Store:
    """The database at `path`. Raises AmocError where it cannot be opened or read."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise AmocError(f"the run store {path} cannot be opened: {error}") from error
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def save(
        self,
        run: Run,
        parts: Iterable[Part] = (),
        nodes: Iterable[NodeView] = (),
        pending: Pending = NOTHING,
    ) -> None:
        """Write how a run stands, what was measured since, and what was received of the nodes.

        All of it or nothing: figures, the numbers of the reports that they came with, and what an
        output made of them that is `pending`. Where a state is among the parts, it replaces what
        was measured before. Raises sqlite3.Error where it cannot be written.
        """
        parts = tuple(parts)
        total = run.results.total.operations.values()
        row = (
            run.id,
            __version__,
            run.active,
            run.started_at,
            run.ended_at,
            run.scenario,
            run.status,
            run.assigned,
            min(COUNT_MAX, sum(operation.count for operation in total)),
            run.comment,
            records.encode(records.record_of_run(run)),
        )
        with self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO runs VALUES (?1, coalesce((SELECT number FROM runs WHERE"
                " id = ?1), (SELECT coalesce(max(number), 0) + 1 FROM runs)),"
                " ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                row,
            )
            if any(kind == "state" for kind, _ in parts):
                self._db.execute(
                    "DELETE FROM parts WHERE run = ? AND kind IN ('measured', 'state')", (run.id,)
                )
            self._db.executemany(
                "INSERT INTO parts VALUES (?, ?, ?)",
                [(run.id, kind, data) for kind, data in parts],
            )
            self._save_nodes(nodes)
            self._save_pending(pending)

    def _save_nodes(self, nodes: Iterable[NodeView]) -> None:
        self._db.executemany(
            "INSERT INTO nodes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data",
            [(node.name, records.encode(records.record_of_node(node))) for node in nodes],
        )

    def save_nodes(self, nodes: Iterable[NodeView], pending: Pending = NOTHING) -> None:
        """Write what was received of the nodes, and is `pending`, while no run goes on."""
        with self._db:
            self._save_nodes(nodes)
            self._save_pending(pending)

    def _save_pending(self, pending: Pending) -> None:
        self._db.executemany("INSERT OR REPLACE INTO pending VALUES (?, ?)", pending.put.items())
        self._db.executemany("DELETE FROM pending WHERE key = ?", [(key,) for key in pending.drop])

    def pending(self) -> dict[str, bytes]:
        """Return what an earlier master's output left, by its keys."""
        return dict(self._db.execute("SELECT key, data FROM pending ORDER BY rowid"))

    def forget_node(self, name: str) -> None:
        """Remove a node that has left. Raises sqlite3.Error where it cannot be written."""
        with self._db:
            self._db.execute("DELETE FROM nodes WHERE name = ?", (name,))

    def save_code(self, run_id: str, code: bytes) -> None:
        """Write the scenario's sources, for nodes that join under another master."""
        with self._db:
            self._db.execute("INSERT INTO parts VALUES (?, 'code', ?)", (run_id, code))

    def code(self, run_id: str) -> bytes:
        """Return the sources of a run's scenario, empty where they were not stored."""
        row = self._db.execute(
            "SELECT data FROM parts WHERE run = ? AND kind = 'code'", (run_id,)
        ).fetchone()
        return bytes(row[0]) if row is not None else b""

    def prune(self) -> None:
        """Remove all runs but the last hundred."""
        old = "SELECT id FROM runs WHERE active = 0 ORDER BY number DESC LIMIT -1 OFFSET ?"
        with self._db:
            self._db.execute(f"DELETE FROM parts WHERE run IN ({old})", (RUNS_KEPT,))  # noqa: S608  # our own text
            self._db.execute(f"DELETE FROM runs WHERE id IN ({old})", (RUNS_KEPT,))  # noqa: S608

    def nodes(self, now: float) -> list[NodeView]:
        """Return the nodes that were known, as if heard `now` (the master's monotonic time).

        Those that another version has written join anew.
        """
        found = []
        for (data,) in self._db.execute("SELECT data FROM nodes ORDER BY rowid"):
            with suppress(RecordError):
                found.append(records.node_of(records.decode(NodeRecord, data), now))
        return found

    def active(self) -> Run | None:
        """Return the run that was going on when the last master ended.

        One that this version cannot go on with is said to have failed.
        """
        row = self._db.execute("SELECT id FROM runs WHERE active ORDER BY number DESC").fetchone()
        if row is None:
            return None
        try:
            return self.load(row[0])
        except AmocError as error:
            log.error("%s; it is not gone on with", error)
            with self._db:
                self._db.execute("UPDATE runs SET active = 0, status = 'failed' WHERE active")
            return None

    def list(self) -> list[Line]:
        """Return all runs, the latest first."""
        rows = self._db.execute(
            "SELECT id, scenario, status, began, ended, users, operations, comment FROM runs"
            " ORDER BY number DESC"
        )
        return [Line(*row) for row in rows]

    def load(self, run_id: str) -> Run:
        """Return a run with all its figures. Raises AmocError where there is none of this id."""
        row = self._db.execute(
            "SELECT record, version FROM runs WHERE id = ?", (run_id,)
        ).fetchone()
        if row is None:
            known = ", ".join(line.run for line in self.list()[:5]) or "none yet"
            raise AmocError(f"there is no run {run_id}; the latest are: {known}")
        record, version = row
        try:
            return self._restored(run_id, record)
        except RecordError as error:
            raise AmocError(f"run {run_id} was stored by amoc {version}: {error}") from error

    def _restored(self, run_id: str, record: bytes) -> Run:
        run = records.run_of(records.decode(RunRecord, record))
        rows = self._db.execute(
            "SELECT kind, data FROM parts WHERE run = ? ORDER BY rowid", (run_id,)
        )
        before: list[Row] = []
        for kind, data in rows:
            if kind not in _KINDS:
                continue
            part = records.decode(_KINDS[kind], data)
            if isinstance(part, Events):
                run.events.extend(part.events)
            elif isinstance(part, Rows):
                before.extend(part.rows)
            elif isinstance(part, State):
                run.results.go_on(part, before)
            else:
                run.results.add(part.second, part.snapshot, part.health, part.users)
        if not run.active:
            run.results.close_all()
        return run
