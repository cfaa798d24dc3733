"""The run store: an SQLite database (WAL) of past runs, from which a new master resumes a run.

Each write survives the death of the master's process. Not every write is synced to disk, so a power
failure may lose the last moments.
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
from amoc_gevent.daemon.run_locks import RunLocks
from amoc_gevent.errors import AmocError
from amoc_gevent.master.database import BUSY_S, Database, StoreError
from amoc_gevent.master.run_lines import Line, line_of
from amoc_gevent.master.run_parts import Part, restore

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
    """The database at `path`. Raises StoreError if it cannot be opened or read.

    A failed write raises sqlite3.Error, OSError or StoreError and writes nothing. The generation
    counts the files opened; a new file may lack earlier writes. Once `owns_home` returns False,
    nothing is written.

    The table `local` names the runs of processes other than a master. Each process locks its runs
    until it ends, and a master never resumes them.
    """

    required = True
    """Whether a run that cannot be stored is refused."""

    def __init__(self, path: Path, owns_home: Callable[[], bool] = lambda: True) -> None:
        self._locks = RunLocks(path.with_suffix(".lock"))
        self._database = Database(path, SCHEMA, owns_home)

    @property
    def path(self) -> Path:
        """The path of the database file."""
        return self._database.path

    @property
    def _db(self) -> sqlite3.Connection:
        return self._database.connection

    def current_generation(self) -> int:
        """Return the generation of the file that the path names now."""
        self._database.reopen_if_replaced()
        return self._database.generation

    def wait_for_locks(self, *, enabled: bool) -> None:
        """Set whether to wait a moment for another process that locks the database."""
        self._database.set_busy_timeout(BUSY_S if enabled else 0.0)

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
        """Write a new run with its scenario's sources, and keep only the last hundred runs.

        This is one transaction: a run without sources could not start on any node.
        """
        with self._database.writing() as db:
            local = [run_id for (run_id,) in db.execute("SELECT run FROM local").fetchall()]
            held = [run_id for run_id in local if self._locks.is_held(run_id)]
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
        rewrite: bytes | None = None,
    ) -> None:
        """Write a run's state, its new measurements, and the nodes' received reports.

        This is one transaction: figures, the sequence numbers of their reports, and the `pending`
        data of an output. A state among the parts replaces all earlier measurements; a manifest
        replaces the earlier one. `rewrite` holds the sources if the whole run is rewritten. With
        `generation`, write only into that file.
        """
        parts = tuple(parts)
        with self._database.writing(generation) as db:
            self._save_run(db, run)
            if rewrite is not None:
                db.execute("DELETE FROM parts WHERE run = ?", (run.id,))
                self._drop_pending(db)
                self._save_code(db, run, rewrite)
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
        """Return whether a restarted master resumes the run."""
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
        rewrite: bool = False,
    ) -> None:
        """Write the nodes' received reports and the `pending` data while no run is active.

        With `rewrite`, replace all pending data. `generation` is as in `save`.
        """
        with self._database.writing(generation) as db:
            if rewrite:
                db.execute("DELETE FROM pending")
            self._save_nodes(db, nodes)
            self._save_pending(db, pending)

    def _save_pending(self, db: sqlite3.Connection, pending: StateChanges) -> None:
        db.executemany("INSERT OR REPLACE INTO pending VALUES (?, ?)", pending.put.items())
        db.executemany("DELETE FROM pending WHERE key = ?", [(key,) for key in pending.drop])

    def _drop_pending(self, db: sqlite3.Connection) -> None:
        """Remove the pending data that the file's previous writer left."""
        db.execute("DELETE FROM pending")

    def pending(self) -> dict[str, bytes]:
        """Return the pending data of an earlier master's output, by key."""
        with self._database.reading() as db:
            return dict(db.execute("SELECT key, data FROM pending ORDER BY rowid"))

    def forget_node(self, name: str) -> None:
        """Remove a node that left."""
        with self._database.writing() as db:
            db.execute("DELETE FROM nodes WHERE name = ?", (name,))

    def code(self, run_id: str) -> bytes:
        """Return the sources of a run's scenario; empty if they were not stored."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT data FROM parts WHERE run = ? AND kind = 'code'", (run_id,)
            ).fetchone()
        return bytes(row[0]) if row is not None else b""

    def nodes(self, now: float) -> list[NodeView]:
        """Return the stored nodes as if heard `now` (the master's monotonic time).

        Records of another version are skipped; those nodes join again.
        """
        found = []
        with self._database.reading() as db:
            rows = db.execute("SELECT data FROM nodes ORDER BY rowid").fetchall()
        for (data,) in rows:
            with suppress(RecordError):
                found.append(records.node_of(records.decode(NodeRecord, data), now))
        return found

    def active(self) -> Run | None:
        """Return the run that was active when the last master ended.

        A run that this version cannot resume is marked as failed.
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
            log.error("%s; it is not resumed", error)
            with suppress(sqlite3.Error), self._database.writing() as db:  # else at the next start
                db.execute("UPDATE runs SET active = 0, status = 'failed' WHERE active")
            return None

    def _is_local(self, db: sqlite3.Connection, run_id: str, *, held: bool) -> bool:
        """Return whether the run is local and its process is alive (`held`) or gone."""
        found = db.execute("SELECT 1 FROM local WHERE run = ?", (run_id,)).fetchone()
        return found is not None and self._locks.is_held(run_id) == held

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
        """Return a run with all its figures. Raises AmocError for an unknown id."""
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
    """Return all runs, latest first, with the current `run`, since the store may lag behind."""
    lines = store.list() if store is not None else []
    if run is None:
        return lines
    now = line_of(run)
    if all(line.run != now.run for line in lines):
        return [now, *lines]
    return [now if line.run == now.run else line for line in lines]
