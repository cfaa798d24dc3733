"""Starts one worker process by exec, and keeps what its node knows about it."""

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
"""At most this many of the latest silent seconds are reported at once.

Rows of older seconds are closed already.
"""


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """Worker number `index` (0-based) of a node: its present process and its last report.

    `quick_deaths` and `early_deaths` count deaths in a row: within QUICK_DEATH_S of the start, and
    before the worker was ready. `progressed` is when its number of running users last changed.
    `lease_expired` is set if it was killed because its node had no lease.

    `health` is its last health report and `last_second` the last second that it reported. Reports
    are due from the second `since` (0: not yet), and silence is recorded up to `accounted`.
    """

    index: int
    incarnation: int = 1
    process: Popen[bytes] | None = None
    started: float = 0.0
    progressed: float = 0.0
    quick_deaths: int = 0
    early_deaths: int = 0
    killed: bool = False
    lease_expired: bool = False
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
        """Start a new interpreter; `on_output` receives each line that it writes.

        When the process has ended, `on_exit` is called in a greenlet of its own, unless another
        process was started in its place by then. Raises OSError.
        """
        self.state, self.killed, self.lease_expired = "starting", False, False
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
            start_new_session=True,  # Ctrl-C in a terminal is for the master only
        )
        self.process = process
        gevent.spawn(_forward, process, on_output)
        gevent.spawn(self._wait, process, on_exit)

    def _wait(self, process: "Popen[bytes]", on_exit: Callable[["WorkerProcess"], None]) -> None:
        process.wait()
        if self.process is process:  # else the next process was started already
            on_exit(self)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process id, or 0 before the first start."""
        return self.process.pid if self.process is not None else 0

    def kill(self) -> None:
        """Kill the process."""
        if self.process is not None and self.alive:
            self.killed = True
            self.process.kill()

    def silent_seconds(self, node: str, through: int) -> list[Health]:
        """Return a health record for each unreported second up to `through`, once each."""
        reported = max(self.last_second, self.accounted)
        self.accounted = max(reported, through)
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
            for second in range(max(reported, through - SILENT_MAX) + 1, through + 1)
        ]

    def dump_stack(self) -> None:
        """Have the worker write its stack, which it does even within one long call."""
        if self.process is not None and self.alive:
            self.process.send_signal(signal.SIGQUIT)

    def describe_end(self) -> str:
        """Return how the process ended, as the predicate of a sentence."""
        code = self.process.returncode if self.process is not None else None
        if self.killed:
            return "did not end when it was told to, and was killed"
        if code is not None and code < 0:
            return f"was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"ended with exit code {code}"

    def note_death(self) -> float:
        """Count a death; return how many seconds to wait before the restart (0 the first time).

        Its users become waiting, except those that were done. The new incarnation number keeps late
        reports of the dead process apart from those of the next.
        """
        self.incarnation += 1
        quick = clock.monotonic() - self.started < QUICK_DEATH_S
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        self.early_deaths = self.early_deaths + 1 if self.state == "starting" else 0
        self.users = UserCounts(waiting=self.users.total - self.users.done, done=self.users.done)
        return min(BACKOFF_MAX_S, 0.25 * 2**self.quick_deaths) if self.quick_deaths > 1 else 0.0

    def note_stopped(self, *, return_later: bool = False) -> None:
        """Note that the worker has stopped.

        Its users are done, unless they `return_later`: then they are in no count until the master
        places them again.
        """
        self.state = "stopped"
        self.users = UserCounts() if return_later else UserCounts(done=self.users.total)


class Launcher:
    """Starts worker processes, which connect to their node at `orders` and `reports`.

    `on_output` receives each line that one of them writes.
    """

    def __init__(self, orders: str, reports: str, on_output: Callable[[str], None]) -> None:
        self._orders = orders
        self._reports = reports
        self._on_output = on_output

    def start(self, worker: WorkerProcess, on_exit: Callable[[WorkerProcess], None]) -> None:
        """Start a new process of `worker`; call `on_exit` when it ends. Raises OSError."""
        worker.start(self._orders, self._reports, on_exit, self._on_output)


def _forward(process: "Popen[bytes]", on_output: Callable[[str], None]) -> None:
    """Forward the worker's output by lines: its log, and what the scenario prints."""
    stream = process.stdout
    if stream is not None:
        for line in stream:
            on_output(line.decode(errors="replace").rstrip("\n"))
        stream.close()
