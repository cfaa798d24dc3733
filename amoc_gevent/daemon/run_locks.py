"""Locks on runs, one per run, each held by the run's process until it ends or is killed.

Each is a lock on one byte of a shared file; the run's id, as a number, is the offset (fcntl(2),
open file description locks).
"""

import fcntl
import os
import struct
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_LOCK = struct.Struct("hhqqi0q")
"""The kernel's `struct flock`: type, whence, start, length and pid."""


class RunLocks:
    """The locks in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: list[int] = []

    def hold(self, run_id: str) -> None:
        """Lock a run until `release` or the end of this process. Raises OSError if it is locked."""
        descriptor = os.open(self._path, _FLAGS | os.O_CREAT, 0o600)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock(run_id))
        except OSError:
            os.close(descriptor)
            raise
        self._held.append(descriptor)

    def is_held(self, run_id: str) -> bool:
        """Return whether any process, including this one, holds the run's lock."""
        try:
            descriptor = os.open(self._path, _FLAGS)
        except OSError:
            return False
        try:
            found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _lock(run_id))
        finally:
            os.close(descriptor)
        kind: int = _LOCK.unpack(found)[0]
        return kind != fcntl.F_UNLCK

    def release(self) -> None:
        """Release all locks held by this object."""
        while self._held:
            os.close(self._held.pop())


def _lock(run_id: str) -> bytes:
    return _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, int(run_id, 16), 1, 0)
