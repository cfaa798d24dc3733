"""The processes of a benchmark: pinning to a core, CPU time of the whole tree, termination."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from amoc_gevent import clock
from amoc_gevent.errors import AmocError
from benchmarks.machine import ROOT, program

PATIENCE_S = 60.0
POLL_S = 0.02


class Child:
    """A command with its subprocesses, home and output in `directory`. The `with` block ends it."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        core: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = Path(command[0]).name
        self.home = str(directory)
        self.output = directory / f"{self.name}.output"
        home = dict.fromkeys(("HOME", "AMOC_HOME", "TMPDIR"), self.home)
        with self.output.open("wb") as output:
            self.process = psutil.Popen(
                [program("taskset", "util-linux"), "-c", str(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **home, "PYTHONPATH": str(ROOT), **(environment or {})},
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(signal.SIGKILL)

    def cpu(self) -> float:
        """Return the CPU seconds (user and system) of the process and its descendants."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(_cpu_of(process) for process in family)

    def threads_cpu(self) -> float:
        """Return the CPU seconds of all live threads, to the µs. `cpu` counts in 10 ms."""
        return sum(map(_threads_cpu_of, [self.process, *self.process.children(recursive=True)]))

    def resident(self) -> int:
        """Return the resident memory (bytes) of the process and its descendants."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(map(_resident_of, family))

    def until(self, condition: Callable[[], bool], what: str, patience: float = PATIENCE_S) -> None:
        """Poll until `condition` holds. Raises AmocError if the process ends or time runs out."""
        deadline = clock.monotonic() + patience
        while not condition():
            if self.process.poll() is not None:
                raise AmocError(f"{self.name} ended before {what}:\n{self.said()}")
            if clock.monotonic() > deadline:
                raise AmocError(f"{self.name}: not {what} in {patience:g} s:\n{self.said()}")
            time.sleep(POLL_S)

    def wait(self) -> None:
        """Wait until the process ends by itself. Raises AmocError if it does not."""
        try:
            self.process.wait(PATIENCE_S)
        except psutil.TimeoutExpired:
            raise AmocError(
                f"{self.name} did not end in {PATIENCE_S:g} s:\n{self.said()}"
            ) from None

    def end(self, number: signal.Signals) -> None:
        """Send the signal, wait until the process has ended, and kill its leftovers."""
        family: list[psutil.Process] = []
        try:
            if self.process.poll() is None:
                family = self.process.children(recursive=True)
                self.process.send_signal(number)
                self.wait()
        finally:
            for process in [*family, *psutil.process_iter()]:
                if process in family or _home_of(process) == self.home:  # a daemon, such as epmd
                    _kill(process)

    def result(self) -> str:
        """Return the last line of its output. Raises AmocError if its exit code is not 0."""
        if self.process.poll():
            raise AmocError(f"{self.name} ended with code {self.process.poll()}:\n{self.said()}")
        return self.said().splitlines()[-1]

    def said(self) -> str:
        """Return the last lines of its output."""
        return "\n".join(self.output.read_text(errors="replace").strip().splitlines()[-15:])


def _resident_of(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:  # a helper that has already ended
        return 0


def _cpu_of(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:4])  # user and system, of itself and its ended children
    except psutil.NoSuchProcess:
        return 0.0


def _threads_cpu_of(process: psutil.Process) -> float:
    total = 0
    for file in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
        with suppress(OSError):  # it has just ended
            total += int(file.read_text().split()[0])
    return total / 1e9


def _home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("HOME")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
