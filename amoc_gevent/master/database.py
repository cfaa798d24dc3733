"""The SQLite file of the run store: opens it, and opens it again if it was removed or replaced.

SQLite continues to write to a removed file, and loses that data when the process ends. So each
write first checks that the path still names the files that were opened.
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
    sqlite3.SQLITE_CORRUPT: "move it away, a new one is written then",
    sqlite3.SQLITE_NOTADB: "move it away, a new one is written then",
}


class StoreError(AmocError):
    """The run store cannot be opened or read."""


class NotOursError(StoreError):
    """The directory of the run store is no longer this process's."""


def code_of(error: BaseException) -> int:
    """Return SQLite's primary result code of an error, 0 where it has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def advice(error: BaseException) -> str:
    """Return what an operator can do about an error of the store."""
    if isinstance(error, NotOursError):
        return "this master ends"
    if isinstance(error, PermissionError):
        return "make it writable"
    if isinstance(error, FileNotFoundError):
        return "make its directory again"
    if isinstance(error, ValueError | OverflowError):
        return "a text or number cannot be stored"
    return _ADVICE.get(code_of(error), "see to its disk")


class Database:
    """The database at `path` with the tables of `schema`. StoreError where it cannot be opened.

    `generation` counts how often it was opened: what is there need not be what was written. It is
    written only while it is `ours`.
    """

    def __init__(self, path: Path, schema: str, ours: Callable[[], bool]) -> None:
        self.path = path
        self._ours = ours
        self._schema = schema
        self.generation = 0
        self._open()

    def _open(self) -> None:
        try:
            with suppress(FileExistsError):  # else SQLite makes it, and others could open it first
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

    def be_patient(self, seconds: float) -> None:
        """Wait up to `seconds` for another process that locks the database."""
        self.connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read in the block. Raises StoreError."""
        try:
            yield self.connection
        except sqlite3.Error as error:
            text = f"the run store {self.path} cannot be read: {error}; {advice(error)}"
            raise StoreError(text) from error

    @contextmanager
    def writing(self, generation: int | None = None) -> Iterator[sqlite3.Connection]:
        """Write in the block: all of it or nothing. Raises sqlite3.Error, OSError, StoreError.

        With `generation`, only into the file that was opened then.
        """
        self.look()
        if generation not in {None, self.generation}:
            raise sqlite3.OperationalError("the file was replaced")
        with self.connection:
            yield self.connection

    def look(self) -> None:
        """Open the file that the path names now, where that is another one.

        One that was removed is made again, with all that it had. Raises sqlite3.Error, OSError or
        StoreError where that cannot be done, or where the file is damaged or not ours.
        """
        if not self._ours():
            raise NotOursError("its home was removed, moved or made anew")
        now = self._identities()
        if now == self._files:
            self._look_at_size()
            return
        what = "removed" if None in now else "replaced"
        before = self.connection
        if now[0] in {None, self._files[0]}:
            self._restore()
        else:
            self._remove_log(ours=True)
        self._open()
        before.close()  # not earlier: where the new one cannot be opened, it has all that there is
        log.warning("the run store %s was %s, and is open again", self.path, what)

    def _identities(self) -> tuple[Identity, Identity, Identity]:
        """Return which files are at the paths of the database, its log and the log's index."""
        one, two, three = (_identity(f"{self.path}{suffix}") for suffix in ("", "-wal", "-shm"))
        return one, two, three

    def _look_at_size(self) -> None:
        """Raise sqlite3.DatabaseError where the file was cut off: SQLite would go on with it."""
        size = self.path.stat().st_size
        if size < self._size:
            with closing(sqlite3.connect(self.path, timeout=BUSY_S)) as other:
                found = other.execute("PRAGMA quick_check").fetchone()
            if found != ("ok",) or not size:  # nothing is a sound database, too
                error = sqlite3.DatabaseError("the file was cut off")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error
        self._size = size

    def _remove_log(self, *, ours: bool = False) -> None:
        """Remove the log of another database: SQLite would write it into the one that is there now.

        With `ours`, only what belongs to the file that is open.
        """
        for suffix, known in zip(("-wal", "-shm"), self._files[1:], strict=True):
            path = f"{self.path}{suffix}"
            if not ours or _identity(path) == known:
                Path(path).unlink(missing_ok=True)

    def _restore(self) -> None:
        """Put a whole copy of what is still open where the path says; an empty one if damaged."""
        descriptor, temporary = tempfile.mkstemp(prefix=".runs-", dir=self.path.parent)
        os.close(descriptor)
        made = Path(temporary)
        try:
            try:
                self.connection.execute("VACUUM INTO ?", (temporary,))
            except sqlite3.ProgrammingError:  # closed when it could not be opened again
                made.write_bytes(b"")
            except sqlite3.DatabaseError as error:
                if code_of(error) not in DAMAGED:
                    raise
                log.error("the run store %s had been damaged: earlier runs are lost", self.path)
                made.write_bytes(b"")
            self.connection.close()
            self._remove_log()
            made.replace(self.path)
        finally:
            with suppress(OSError):
                made.unlink(missing_ok=True)


def _identity(path: str) -> Identity:
    try:
        found = os.stat(path)  # noqa: PTH116  # three of them, four times a second
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
