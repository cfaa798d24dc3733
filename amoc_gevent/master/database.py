"""The SQLite file of the run store: opens it, and reopens it if it was removed or replaced.

SQLite continues to write to a removed file, and loses that data when the process ends. Each
write therefore first checks that the path still names the files that were opened.
"""

import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from amoc_gevent.errors import AmocError

log = logging.getLogger(__name__)

BUSY_S = 0.2
"""How long a write waits for another process, such as a backup, that locks the database."""

Identity = tuple[int, int] | None
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_ADVICE = {
    sqlite3.SQLITE_FULL: "free some space on its disk",
    sqlite3.SQLITE_BUSY: "end the process that locks it",
    sqlite3.SQLITE_LOCKED: "end the process that locks it",
    sqlite3.SQLITE_READONLY: "make it writable",
    sqlite3.SQLITE_PERM: "make it writable",
    sqlite3.SQLITE_CORRUPT: "move it away; a new one is then written",
    sqlite3.SQLITE_NOTADB: "move it away; a new one is then written",
}


class StoreError(AmocError):
    """The run store cannot be opened or read."""


class LostHomeError(StoreError):
    """The home of the run store no longer belongs to this process."""


def code_of(error: BaseException) -> int:
    """Return SQLite's primary result code of an error, 0 if it has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def advice(error: BaseException) -> str:
    """Return what an operator can do about an error of the store."""
    if isinstance(error, LostHomeError):
        return "this master ends"
    if isinstance(error, PermissionError):
        return "make it writable"
    if isinstance(error, FileNotFoundError):
        return "recreate its directory"
    if isinstance(error, ValueError | OverflowError):
        return "a text or number cannot be stored"
    return _ADVICE.get(code_of(error), "check its disk")


class Database:
    """The database at `path` with the tables of `schema`. Raises StoreError if it cannot be opened.

    `generation` counts how often a file was opened; a new file may lack earlier writes. Once
    `owns_home` returns False, nothing is written.
    """

    def __init__(self, path: Path, schema: str, owns_home: Callable[[], bool]) -> None:
        self.path = path
        self._owns_home = owns_home
        self._schema = schema
        self.generation = 0
        self._open()

    def _open(self) -> None:
        try:
            with suppress(
                FileExistsError
            ):  # otherwise SQLite creates it, readable by others at first
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            connection = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
            try:
                self.path.chmod(0o600)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(self._schema)
                self._files = self._identities()
                self._size = self.path.stat().st_size
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the run store {self.path} cannot be opened: {error}") from error
        self.connection = connection
        self.generation += 1

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    def set_busy_timeout(self, seconds: float) -> None:
        """Wait up to `seconds` for another process that locks the database."""
        self.connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection for reading. Raises StoreError if a read in the block fails."""
        try:
            yield self.connection
        except sqlite3.Error as error:
            text = f"the run store {self.path} cannot be read: {error}; {advice(error)}"
            raise StoreError(text) from error

    @contextmanager
    def writing(self, generation: int | None = None) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction. Raises sqlite3.Error, OSError or StoreError.

        With `generation`, raise sqlite3.OperationalError if another file has been opened since.
        """
        self.reopen_if_replaced()
        if generation not in {None, self.generation}:
            raise sqlite3.OperationalError("the file was replaced")
        with self.connection:
            yield self.connection

    def reopen_if_replaced(self) -> None:
        """Open the file that the path names now, if it is not the one that is open.

        A removed file is restored with its full content. Raises sqlite3.Error, OSError or
        StoreError if that fails, if the file is damaged, or if the home is no longer ours.
        """
        if not self._owns_home():
            raise LostHomeError("its home was removed, moved or recreated")
        now = self._identities()
        if now == self._files:
            self._check_size()
            return
        what = "removed" if None in now else "replaced"
        before = self.connection
        if now[0] in {None, self._files[0]}:
            self._restore()
        else:
            self._remove_log(only_open=True)
        self._open()
        before.close()  # last: if the new file cannot be opened, only this one has the data
        log.warning("the run store %s was %s and has been reopened", self.path, what)

    def _identities(self) -> tuple[Identity, Identity, Identity]:
        """Return the identities of the database file, its log and the log's index."""
        one, two, three = (_identity(f"{self.path}{suffix}") for suffix in ("", "-wal", "-shm"))
        return one, two, three

    def _check_size(self) -> None:
        """Raise sqlite3.DatabaseError if the file was truncated; SQLite would not notice."""
        size = self.path.stat().st_size
        if size < self._size:
            with closing(sqlite3.connect(self.path, timeout=BUSY_S)) as other:
                found = other.execute("PRAGMA quick_check").fetchone()
            if found != ("ok",) or not size:  # SQLite takes an empty file for a valid database
                error = sqlite3.DatabaseError("the file was truncated")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error
        self._size = size

    def _remove_log(self, *, only_open: bool = False) -> None:
        """Remove the log of another database, which SQLite would apply to the present one.

        With `only_open`, remove only the log of the file that is open.
        """
        for suffix, known in zip(("-wal", "-shm"), self._files[1:], strict=True):
            path = f"{self.path}{suffix}"
            if not only_open or _identity(path) == known:
                Path(path).unlink(missing_ok=True)

    def _restore(self) -> None:
        """Write a copy of the open database to the path, or an empty file if it is damaged."""
        descriptor, temporary = tempfile.mkstemp(prefix=".runs-", dir=self.path.parent)
        os.close(descriptor)
        copy = Path(temporary)
        try:
            try:
                self.connection.execute("VACUUM INTO ?", (temporary,))
            except sqlite3.ProgrammingError:  # closed because it could not be reopened
                copy.write_bytes(b"")
            except sqlite3.DatabaseError as error:
                if code_of(error) not in DAMAGED:
                    raise
                log.error("the run store %s was damaged: earlier runs are lost", self.path)
                copy.write_bytes(b"")
            self.connection.close()
            self._remove_log()
            copy.replace(self.path)
        finally:
            with suppress(OSError):
                copy.unlink(missing_ok=True)


def _identity(path: str) -> Identity:
    try:
        found = os.stat(path)  # noqa: PTH116  # three of them, four times a second
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
