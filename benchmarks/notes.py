"""Notes of a measured process about itself, in a JSON file: memory, CPU time, instants."""

import json
import os
from pathlib import Path

from amoc_gevent import clock


def memory(what: str, pid: int | None = None) -> int:
    """Return the memory of a process (bytes), by default this one. `what` is VmRSS or VmHWM."""
    lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def read(path: Path) -> dict[str, dict[str, float]]:
    """Return the notes so far, or an empty dict if there is no file yet."""
    found: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write(path: Path, content: object) -> None:
    """Write `content` as JSON, atomically."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content))
    fresh.replace(path)


class Notes:
    """Notes of one process. `take` writes at once, because the process may be killed at any time.

    A note holds `resident` and `peak` (bytes), `at` (monotonic s), `cpu` (s) and the `pid`.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._notes: dict[str, dict[str, float]] = {}

    def take(self, name: str) -> None:
        """Add a note about this process."""
        self._notes[name] = {
            "resident": memory("VmRSS"),
            "peak": memory("VmHWM"),
            "at": clock.monotonic(),
            "cpu": clock.cpu_ns() / 1e9,
            "pid": os.getpid(),
        }
        write(self._path, self._notes)
