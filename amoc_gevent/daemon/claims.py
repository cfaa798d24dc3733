"""Claims of processes on runs: a lock each, which ends with its process however that ends.

All are locks on one byte of the same file, at the offset that the run's id makes as a number
(fcntl(2), open file description locks).
"""

import fcntl
import os
import struct
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_LOCK = struct.Struct("hhqqi0q")
"""The kernel's `struct flock`: type, whence, start, length and pid."""


class Claims:
    """The claims in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: list[int] = []

    def hold(self, run_id: str) -> None:
        """Claim a run until `release` or this process's end. Raises OSError, too if it is held."""
        descriptor = os.open(self._path, _FLAGS | os.O_CREAT, 0o600)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock(run_id))
        except OSError:
            os.close(descriptor)
            raise
        self._held.append(descriptor)

    def is_held(self, run_id: str) -> bool:
        """Whether a process, this one included, claims a run."""
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
        """Let go of all that this object holds."""
        while self._held:
            os.close(self._held.pop())


def _lock(run_id: str) -> bytes:
    return _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, int(run_id, 16), 1, 0)
