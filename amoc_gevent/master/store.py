"""The run store: an SQLite database (WAL) from which a master goes on, and which keeps past runs.

What is written is safe from the death of the master's process at once. It is not forced to the disk
each time, so a power failure may cost the last moments.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from amoc_gevent import __version__
from amoc_gevent.core import records
from amoc_gevent.core.measure.rows import Row
from amoc_gevent.core.output_state import NO_CHANGES, StateChanges
from amoc_gevent.core.records import NodeRecord, RecordError, RunRecord
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.run import Run
from amoc_gevent.daemon.claims import Claims
from amoc_gevent.errors import AmocError
from amoc_gevent.master.database import BUSY_S, Database, StoreError
from amoc_gevent.master.parts import Part, restore
from amoc_gevent.master.run_lines import Line, line_of

log = logging.getLogger(__name__)

RUNS_KEPT = 100
UNFINISHED = {"starting", "running", "stopping"}

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, number INTEGER, version TEXT, active INTEGER, began REAL, ended REAL,
    scenario TEXT, status TEXT, users INTEGER, operations INTEGER, comment TEXT, record BLOB);
CREATE TABLE IF NOT EXISTS parts (run TEXT, kind TEXT, data BLOB);
CREATE INDEX IF NOT EXISTS parts_of_run ON parts (run);
CREATE TABLE IF NOT EXISTS nodes (name TEXT PRIMARY KEY, data BLOB);
CREATE TABLE IF NOT EXISTS pending (key TEXT PRIMARY KEY, data BLOB);
CREATE TABLE IF NOT EXISTS local (run TEXT PRIMARY KEY);
"""


class Store:
    """The database at `path`. StoreError where it cannot be opened or read.

    What writes raises sqlite3.Error, OSError or StoreError where it cannot, and then wrote nothing.
    `look` returns a generation that counts the files: a new one need not have what was written.
    Nothing is written any more once it is not `ours`.

    `local` are the runs of other processes than a master: each is that of a process which claims it
    until its end. A master never goes on with one of them.
    """

    required = True
    """Whether a run that cannot be stored is refused."""

    def __init__(self, path: Path, ours: Callable[[], bool] = lambda: True) -> None:
        self._claims = Claims(path.with_suffix(".lock"))
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
        with self._database.writing() as db:
            local = [run_id for (run_id,) in db.execute("SELECT run FROM local").fetchall()]
            held = [run_id for run_id in local if self._claims.is_held(run_id)]
            old = (
                f"SELECT id FROM runs WHERE active = 0 AND id NOT IN ({', '.join('?' * len(held))})"  # noqa: S608  # question marks
                " ORDER BY number DESC LIMIT -1 OFFSET ?"
            )
            values = (*held, RUNS_KEPT)
            for table, name in (("parts", "run"), ("local", "run"), ("runs", "id")):
                db.execute(f"DELETE FROM {table} WHERE {name} IN ({old})", values)  # noqa: S608
            self._save_run(db, run)
            self._save_code(db, run, code)

    def save(
        self,
        run: Run,
        parts: Iterable[Part] = (),
        nodes: Iterable[NodeView] = (),
        pending: StateChanges = NO_CHANGES,
        *,
        generation: int | None = None,
        anew: bytes | None = None,
    ) -> None:
        """Write how a run stands, what was measured since, and what was received of the nodes.

        All of it or nothing: figures, the numbers of the reports that they came with, and what an
        output made of them that is `pending`. Where a state is among the parts, it replaces what
        was measured before; a manifest replaces the one before it. `anew` are the sources where all
        of the run is written, in place of what is there. With `generation`, it is written only into
        that file.
        """
        parts = tuple(parts)
        with self._database.writing(generation) as db:
            self._save_run(db, run)
            if anew is not None:
                db.execute("DELETE FROM parts WHERE run = ?", (run.id,))
                self._drop_pending(db)
                self._save_code(db, run, anew)
            elif any(kind == "state" for kind, _ in parts):
                db.execute(
                    "DELETE FROM parts WHERE run = ? AND kind IN ('measured', 'state')", (run.id,)
                )
            if any(kind == "declared" for kind, _ in parts):
                db.execute("DELETE FROM parts WHERE run = ? AND kind = 'declared'", (run.id,))
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
            self._is_a_masters(run),
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

    def _is_a_masters(self, run: Run) -> bool:
        """Whether the run is one that a master goes on with when it is started again."""
        return run.active

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
        pending: StateChanges = NO_CHANGES,
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

    def _save_pending(self, db: sqlite3.Connection, pending: StateChanges) -> None:
        db.executemany("INSERT OR REPLACE INTO pending VALUES (?, ?)", pending.put.items())
        db.executemany("DELETE FROM pending WHERE key = ?", [(key,) for key in pending.drop])

    def _drop_pending(self, db: sqlite3.Connection) -> None:
        """Remove what whoever wrote the file that is there now left."""
        db.execute("DELETE FROM pending")

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

    def _is_local(self, db: sqlite3.Connection, run_id: str, *, held: bool) -> bool:
        """Whether the run is local, and its process still there (`held`) or gone."""
        found = db.execute("SELECT 1 FROM local WHERE run = ?", (run_id,)).fetchone()
        return found is not None and self._claims.is_held(run_id) == held

    def list(self) -> list[Line]:
        """Return all runs, the latest first."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT id, scenario, status, began, ended, users, operations, comment FROM runs"
                " ORDER BY number DESC"
            ).fetchall()
            lines = [Line(*row) for row in rows]
            return [
                replace(one, status="lost")
                if one.status in UNFINISHED and self._is_local(db, one.run, held=False)
                else one
                for one in lines
            ]

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
                restore(run, before, kind, data)
            if run.active and self._is_local(db, run_id, held=False):
                run.plan = replace(run.plan, status="lost")
        run.results.stored_rows = len(before)
        if not run.active:
            run.results.close_all()
        return run


def lines_of(store: Store | None, run: Run | None) -> list[Line]:
    """Return all runs, the latest first, with `run` as it is now: the store may be behind."""
    lines = store.list() if store is not None else []
    if run is None:
        return lines
    now = line_of(run)
    if all(line.run != now.run for line in lines):
        return [now, *lines]
    return [now if line.run == now.run else line for line in lines]
