"""The run store: an SQLite database (WAL) from which a master goes on, and which keeps past runs.

What is written is safe from the death of the master's process at once. It is not forced to the disk
each time, so a power failure may cost the last moments.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable
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
from amoc_gevent.engine.database import BUSY_S, Database, StoreError
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


def line_of(run: Run) -> Line:
    """Return what the list of runs says of `run`."""
    return Line(
        run.id,
        run.scenario,
        run.status,
        run.started_at,
        run.ended_at,
        run.assigned,
        min(COUNT_MAX, run.results.operations),
        run.comment,
    )


class Store:
    """The database at `path`. StoreError where it cannot be opened or read.

    What writes raises sqlite3.Error, OSError or StoreError where it cannot, and then wrote nothing.
    `generation` counts the files that it was in: a new one need not have what was written. Nothing
    is written any more once it is not `ours`.
    """

    def __init__(self, path: Path, ours: Callable[[], bool] = lambda: True) -> None:
        self._database = Database(path, SCHEMA, ours)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._database.path

    @property
    def _db(self) -> sqlite3.Connection:
        return self._database.connection

    def look(self) -> int:
        """Return the generation, of the file that is there now."""
        self._database.look()
        return self._database.generation

    def be_patient(self, *, patient: bool) -> None:
        """Wait a moment for another process that locks it, or do not."""
        self._database.be_patient(BUSY_S if patient else 0.0)

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
        self._database.close()

    def begin(self, run: Run, code: bytes) -> None:
        """Write a new run with the scenario's sources, and remove all runs but the last hundred.

        All of it or nothing: else there would be a run that no node could get the sources of.
        """
        old = "SELECT id FROM runs WHERE active = 0 ORDER BY number DESC LIMIT -1 OFFSET ?"
        with self._database.writing() as db:
            db.execute(f"DELETE FROM parts WHERE run IN ({old})", (RUNS_KEPT,))  # noqa: S608  # our own text
            db.execute(f"DELETE FROM runs WHERE id IN ({old})", (RUNS_KEPT,))  # noqa: S608
            self._save_run(db, run)
            self._save_code(db, run, code)

    def save(
        self,
        run: Run,
        parts: Iterable[Part] = (),
        nodes: Iterable[NodeView] = (),
        pending: Pending = NOTHING,
        *,
        generation: int | None = None,
        anew: bytes | None = None,
    ) -> None:
        """Write how a run stands, what was measured since, and what was received of the nodes.

        All of it or nothing: figures, the numbers of the reports that they came with, and what an
        output made of them that is `pending`. Where a state is among the parts, it replaces what
        was measured before. `anew` are the sources where all of the run is written, in place of
        what is there. With `generation`, it is written only into that file.
        """
        parts = tuple(parts)
        with self._database.writing(generation) as db:
            self._save_run(db, run)
            if anew is not None:
                db.execute("DELETE FROM parts WHERE run = ?", (run.id,))
                db.execute("DELETE FROM pending")  # of whoever wrote the file that is there now
                self._save_code(db, run, anew)
            elif any(kind == "state" for kind, _ in parts):
                db.execute(
                    "DELETE FROM parts WHERE run = ? AND kind IN ('measured', 'state')", (run.id,)
                )
            db.executemany(
                "INSERT INTO parts VALUES (?, ?, ?)",
                [(run.id, kind, data) for kind, data in parts],
            )
            self._save_nodes(db, nodes)
            self._save_pending(db, pending)

    def _save_run(self, db: sqlite3.Connection, run: Run) -> None:
        line = line_of(run)
        row = (
            run.id,
            __version__,
            run.active,
            line.began,
            line.ended,
            line.scenario,
            line.status,
            line.users,
            line.operations,
            line.comment,
            records.encode(records.record_of_run(run)),
        )
        db.execute(
            "INSERT OR REPLACE INTO runs VALUES (?1, coalesce((SELECT number FROM runs WHERE"
            " id = ?1), (SELECT coalesce(max(number), 0) + 1 FROM runs)),"
            " ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            row,
        )

    def _save_code(self, db: sqlite3.Connection, run: Run, code: bytes) -> None:
        db.execute("INSERT INTO parts VALUES (?, 'code', ?)", (run.id, code))

    def _save_nodes(self, db: sqlite3.Connection, nodes: Iterable[NodeView]) -> None:
        db.executemany(
            "INSERT INTO nodes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data",
            [(node.name, records.encode(records.record_of_node(node))) for node in nodes],
        )

    def save_nodes(
        self,
        nodes: Iterable[NodeView],
        pending: Pending = NOTHING,
        *,
        generation: int | None = None,
        anew: bool = False,
    ) -> None:
        """Write what was received of the nodes, and is `pending`, while no run goes on.

        `anew`: what is pending takes the place of all that is there. `generation` is as in `save`.
        """
        with self._database.writing(generation) as db:
            if anew:
                db.execute("DELETE FROM pending")
            self._save_nodes(db, nodes)
            self._save_pending(db, pending)

    def _save_pending(self, db: sqlite3.Connection, pending: Pending) -> None:
        db.executemany("INSERT OR REPLACE INTO pending VALUES (?, ?)", pending.put.items())
        db.executemany("DELETE FROM pending WHERE key = ?", [(key,) for key in pending.drop])

    def pending(self) -> dict[str, bytes]:
        """Return what an earlier master's output left, by its keys."""
        with self._database.reading() as db:
            return dict(db.execute("SELECT key, data FROM pending ORDER BY rowid"))

    def forget_node(self, name: str) -> None:
        """Remove a node that has left."""
        with self._database.writing() as db:
            db.execute("DELETE FROM nodes WHERE name = ?", (name,))

    def code(self, run_id: str) -> bytes:
        """Return the sources of a run's scenario, empty where they were not stored."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT data FROM parts WHERE run = ? AND kind = 'code'", (run_id,)
            ).fetchone()
        return bytes(row[0]) if row is not None else b""

    def nodes(self, now: float) -> list[NodeView]:
        """Return the nodes that were known, as if heard `now` (the master's monotonic time).

        Those that another version has written join anew.
        """
        found = []
        with self._database.reading() as db:
            rows = db.execute("SELECT data FROM nodes ORDER BY rowid").fetchall()
        for (data,) in rows:
            with suppress(RecordError):
                found.append(records.node_of(records.decode(NodeRecord, data), now))
        return found

    def active(self) -> Run | None:
        """Return the run that was going on when the last master ended.

        One that this version cannot go on with is said to have failed.
        """
        with self._database.reading() as db:
            row = db.execute("SELECT id FROM runs WHERE active ORDER BY number DESC").fetchone()
        if row is None:
            return None
        try:
            return self.load(row[0])
        except StoreError:
            raise
        except AmocError as error:
            log.error("%s; it is not gone on with", error)
            with suppress(sqlite3.Error), self._database.writing() as db:  # or the next time
                db.execute("UPDATE runs SET active = 0, status = 'failed' WHERE active")
            return None

    def list(self) -> list[Line]:
        """Return all runs, the latest first."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT id, scenario, status, began, ended, users, operations, comment FROM runs"
                " ORDER BY number DESC"
            ).fetchall()
        return [Line(*row) for row in rows]

    def load(self, run_id: str) -> Run:
        """Return a run with all its figures. Raises AmocError where there is none of this id."""
        with self._database.reading() as db:
            row = db.execute("SELECT record, version FROM runs WHERE id = ?", (run_id,)).fetchone()
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
        before: list[Row] = []
        with self._database.reading() as db:
            for kind, data in db.execute(
                "SELECT kind, data FROM parts WHERE run = ? ORDER BY rowid", (run_id,)
            ):
                _restore_part(run, before, kind, data)
        run.results.stored_rows = len(before)
        if not run.active:
            run.results.close_all()
        return run


def _restore_part(run: Run, before: list[Row], kind: str, data: bytes) -> None:
    """Add a part to the run, or to the rows `before` its state."""
    if kind not in _KINDS:
        return
    part = records.decode(_KINDS[kind], data)
    if isinstance(part, Events):
        run.events.extend(part.events)
    elif isinstance(part, Rows):
        before.extend(part.rows)
    elif isinstance(part, State):
        run.results.go_on(part, before)
    else:
        run.results.add(part.second, part.snapshot, part.health, part.users)
