"""One worker process as its node sees it: started by exec, watched, and ended."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import gevent
from gevent.subprocess import DEVNULL, PIPE, STDOUT, Popen

from amoc_gevent import clock
from amoc_gevent.core.messages import Health, State, UserCounts
from amoc_gevent.daemon import child

QUICK_DEATH_S = 5.0
BACKOFF_MAX_S = 10.0
SILENT_MAX = 10
"""Seconds of a silence that are told of at once, at most: older ones have their rows already."""


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """Worker number `index` (0-based) of a node: its process of now, and what it last said.

    `early_deaths` counts those in a row that came before it was ready; `progressed` is when its
    number of running users last changed. It is `outlawed` when it was killed because its node may
    have no users. `health` is the last that it told of itself, in its second `last_second`. It must
    report from the second `since` on (0: not yet), and is accounted for up to `accounted`.
    """

    index: int
    incarnation: int = 1
    process: Popen[bytes] | None = None
    started: float = 0.0
    progressed: float = 0.0
    quick_deaths: int = 0
    early_deaths: int = 0
    killed: bool = False
    outlawed: bool = False
    state: State = "starting"
    users: UserCounts = field(default_factory=UserCounts)
    last_second: int = 0
    since: int = 0
    accounted: int = 0
    health: Health | None = None
    plan_version: int = 0

    def start(
        self,
        orders: str,
        reports: str,
        on_exit: Callable[["WorkerProcess"], None],
        on_output: Callable[[str], None],
    ) -> None:
        """Start a new interpreter; `on_output` gets each line that it writes.

        `on_exit` is called, in a greenlet of its own, when it has ended and no other was started
        in its place by then.
        """
        self.state, self.killed, self.outlawed = "starting", False, False
        self.plan_version = self.since = 0
        self.health = None
        self.started = clock.monotonic()
        numbers = map(str, (self.index, self.incarnation, os.getpid()))
        command = child.command_line("worker", orders, reports, *numbers)
        process = Popen(
            command,
            env=child.environment(),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is for the master alone
        )
        self.process = process
        gevent.spawn(_forward, process, on_output)
        gevent.spawn(self._wait, process, on_exit)

    def _wait(self, process: "Popen[bytes]", on_exit: Callable[["WorkerProcess"], None]) -> None:
        process.wait()
        if self.process is process:  # else the next one was started already
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
            self.killed = True
            self.process.kill()

    def silence(self, node: str, through: int) -> list[Health]:
        """Return how it fared in the seconds up to `through` of which it told nothing."""
        told = max(self.last_second, self.accounted)
        self.accounted = max(told, through)
        heard = max(self.last_second, self.since)
        last = self.health or Health(node, self.index, 0, self.pid, 0.0, 0, 0, 0, 0, 0)
        return [
            replace(
                last,
                second=second,
                timer_lag_us=(second - heard) * 1_000_000,
                pickup_lag_us=0,
                clock_step_s=0.0,
                silent=True,
            )
            for second in range(max(told, through - SILENT_MAX) + 1, through + 1)
        ]

    def say_where(self) -> None:
        """Have it write where its code stands, which it does even in the midst of one long call."""
        if self.process is not None and self.alive:
            self.process.send_signal(signal.SIGQUIT)

    def end_in_words(self) -> str:
        """Say how the process ended."""
        code = self.process.returncode if self.process is not None else None
        if self.killed:
            return "did not end when it was told to, and was killed"
        if code is not None and code < 0:
            return f"was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"ended with exit code {code}"

    def note_death(self) -> float:
        """Return how many seconds to wait before it is started again: none the first time.

        Its users wait for it meanwhile, apart from those that were done. What it sent before its
        death and is read later is no word of the next one.
        """
        self.incarnation += 1
        quick = clock.monotonic() - self.started < QUICK_DEATH_S
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        self.early_deaths = self.early_deaths + 1 if self.state == "starting" else 0
        self.users = UserCounts(waiting=self.users.total - self.users.done, done=self.users.done)
        return min(BACKOFF_MAX_S, 0.25 * 2**self.quick_deaths) if self.quick_deaths > 1 else 0.0

    def note_stopped(self, *, return_later: bool = False) -> None:
        """Note that it has ended, and its users with it.

        They are done, unless they `return_later`: then nobody knows so far where they will be.
        """
        self.state = "stopped"
        self.users = UserCounts() if return_later else UserCounts(done=self.users.total)


class Launcher:
    """Starts worker processes, which reach their node at `orders` and `reports`.

    `on_output` gets each line that one of them writes.
    """

    def __init__(self, orders: str, reports: str, on_output: Callable[[str], None]) -> None:
        self._orders = orders
        self._reports = reports
        self._on_output = on_output

    def start(self, worker: WorkerProcess, on_exit: Callable[[WorkerProcess], None]) -> None:
        """Start a new process of `worker`; `on_exit` hears of its end. Raises OSError."""
        worker.start(self._orders, self._reports, on_exit, self._on_output)


def _forward(process: "Popen[bytes]", on_output: Callable[[str], None]) -> None:
    """Hand on what a worker writes, line by line: its log, and what the scenario prints."""
    stream = process.stdout
    if stream is not None:
        for line in stream:
            on_output(line.decode(errors="replace").rstrip("\n"))
        stream.close()
