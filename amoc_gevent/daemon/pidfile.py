"""Locked pid files, which allow one daemon of each kind per home.

The content counts only while the file is locked, since a killed daemon leaves a stale file. Only
the owner can read it: a reader could lock it and keep the daemon from starting.
"""

import fcntl
import os
from pathlib import Path
from time import sleep

from amoc_gevent import clock
from amoc_gevent.errors import AmocError

LOCK_S = 0.5
"""How long to retry a lock. `holder` takes it for a moment just to test it."""

PAUSE_S = 0.02


class PidFile:
    """The pid file at `path`, locked by this process until `release` or its end.

    Raises AmocError with the pid of the process that already holds it.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._descriptor = _locked(path, what)
        try:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            self.release()
            raise AmocError(f"{path} cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Remove the file if it is still ours, then unlock it."""
        if self.held:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    @property
    def held(self) -> bool:
        """Whether the path still names our file. Its home may have been removed and remade."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(os.fstat(self._descriptor), found)

    @property
    def lost(self) -> bool:
        """Whether the path surely no longer names our file; False if it cannot be examined."""
        try:
            found = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return not os.path.samestat(os.fstat(self._descriptor), found)


def _locked(path: Path, what: str) -> int:
    """Return a locked descriptor of the file that `path` names now, not of a removed one."""
    deadline = clock.monotonic() + LOCK_S
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AmocError(f"{path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH116
                return descriptor
        except BlockingIOError:
            if clock.monotonic() > deadline:
                pid = _pid(descriptor)
                os.close(descriptor)
                raise AmocError(already_running(what, path.parent, pid)) from None
            sleep(PAUSE_S)
        except FileNotFoundError:  # released by its owner between our open and our lock
            pass
        os.close(descriptor)


def already_running(what: str, home: Path, pid: int) -> str:
    """Return the error message for a second start."""
    return f"a {what} runs in {home} already, pid {pid}; `amoc shutdown {what}` ends it"


def holder(path: Path) -> int | None:
    """Return the pid of the process that holds `path`; None if none does.

    0 means that the process has not written its pid yet.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _pid(descriptor: int) -> int:
    text = os.pread(descriptor, 20, 0).strip()
    return int(text) if text.isdigit() else 0
