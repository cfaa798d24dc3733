"""Pid files: at most one daemon of a kind in a home, known by a lock that ends with its process.

What the file says counts only while it is locked: a daemon that was killed leaves a stale one.
Only its owner can read it: whoever else could would lock it, and keep the daemon from starting.
"""

import fcntl
import os
from pathlib import Path
from time import sleep

from amoc_gevent import clock
from amoc_gevent.errors import AmocError

CLAIM_S = 0.5
"""How long a lock is tried for: whoever only looks whether it is held holds it for a moment."""

PAUSE_S = 0.02


class PidFile:
    """The claim of this process on `path`, until `release` or its end.

    Raises AmocError with the pid of the process that has claimed it already.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._descriptor = _claimed(path, what)
        try:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            self.release()
            raise AmocError(f"{path} cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Remove the file while it is still ours, then let go of it."""
        if self.held:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    @property
    def held(self) -> bool:
        """Whether the path still names this claim: a home may be removed, and claimed anew."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(os.fstat(self._descriptor), found)

    @property
    def lost(self) -> bool:
        """Whether the path certainly names this claim no more: not where it cannot be looked at."""
        try:
            found = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return not os.path.samestat(os.fstat(self._descriptor), found)


def _claimed(path: Path, what: str) -> int:
    """Return a descriptor of `path`, locked; the file that the path names now, not a former one."""
    deadline = clock.monotonic() + CLAIM_S
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
                raise AmocError(already(what, path.parent, pid)) from None
            sleep(PAUSE_S)
        except FileNotFoundError:  # released by its owner between our open and our lock
            pass
        os.close(descriptor)


def already(what: str, home: Path, pid: int) -> str:
    """Return the sentence for a second start."""
    return f"a {what} runs in {home} already, pid {pid}; `amoc shutdown {what}` ends it"


def holder(path: Path) -> int | None:
    """Return the pid of the process that has claimed `path`; None where none has.

    0 is a process that has claimed it and not yet written who it is.
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
