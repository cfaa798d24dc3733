"""One worker process as its node sees it: started by exec, watched, and ended."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gevent
from gevent.subprocess import DEVNULL, PIPE, STDOUT, Popen

import amoc_gevent
from amoc_gevent import clock
from amoc_gevent.core.messages import State, UserCounts

QUICK_DEATH_S = 5.0
BACKOFF_MAX_S = 10.0


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """Worker number `index` (0-based) of a node: its process of now, and what it last said."""

    index: int
    incarnation: int = 0
    process: Popen[bytes] | None = None
    started: float = 0.0
    quick_deaths: int = 0
    state: State = "starting"
    users: UserCounts = field(default_factory=UserCounts)
    last_second: int = 0
    plan_version: int = 0

    def start(
        self,
        orders: str,
        reports: str,
        on_exit: Callable[["WorkerProcess"], None],
        on_output: Callable[[str], None],
    ) -> None:
        """Start a new interpreter; `on_output` gets each line that it writes.

        `on_exit` is called, in a greenlet of its own, when it has ended.
        """
        self.incarnation += 1
        self.state = "starting"
        self.users = UserCounts()
        self.started = clock.monotonic()
        command = [sys.executable, "-m", "amoc_gevent", "worker", orders, reports]
        command += [str(self.index), str(self.incarnation), str(os.getpid())]
        package_parent = str(Path(amoc_gevent.__file__).parent.parent)
        path = os.pathsep.join(p for p in (package_parent, os.environ.get("PYTHONPATH")) if p)
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        process = Popen(command, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
        self.process = process
        gevent.spawn(_forward, process, on_output)
        gevent.spawn(self._wait, process, on_exit)

    def _wait(self, process: "Popen[bytes]", on_exit: Callable[["WorkerProcess"], None]) -> None:
        process.wait()
        on_exit(self)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process id, 0 when there was none."""
        return self.process.pid if self.process is not None else 0

    def kill(self) -> None:
        """End the process at once."""
        if self.process is not None and self.alive:
            self.process.kill()

    def end_in_words(self) -> str:
        """Say how the process ended."""
        code = self.process.returncode if self.process is not None else None
        if code is not None and code < 0:
            return f"was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"ended with exit code {code}"

    def backoff(self) -> float:
        """Return how many seconds to wait before it is started again: none the first time."""
        quick = clock.monotonic() - self.started < QUICK_DEATH_S
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        return min(BACKOFF_MAX_S, 0.25 * 2**self.quick_deaths) if self.quick_deaths > 1 else 0.0


def _forward(process: "Popen[bytes]", on_output: Callable[[str], None]) -> None:
    """Hand on what a worker writes, line by line: its log, and what the scenario prints."""
    stream = process.stdout
    if stream is not None:
        for line in stream:
            on_output(line.decode(errors="replace").rstrip("\n"))
        stream.close()
