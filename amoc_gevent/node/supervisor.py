"""Supervises a node's workers: starts, watches, restarts and kills them."""

import logging
from collections.abc import Callable

import gevent

from amoc_gevent import clock
from amoc_gevent.core.messages import Failure, Health, Report, State, UserCounts
from amoc_gevent.node.process import Launcher, WorkerProcess

log = logging.getLogger(__name__)

START_DEATHS = 3
START_AGAIN_S = 1.0
STOP_GRACE_S = 4.0
LAST_REPORT_S = 1.0
TICK_S = 0.1
SILENT_S = 3
RESTARTED = "it is started again and its users return; what it had not reported is lost"

LEASE_EXPIRED = (
    "did not end when its node's lease expired, and was killed; what it had not reported is lost"
)

SILENT = f"has not reported for {SILENT_S} s: one call holds it, or the process was stopped"


class WorkerSupervisor:
    """Supervises `count` worker processes for one run at a time, started by `launcher`.

    `on_event(kind, text)` is called for each event of the run's summary, and `on_death(index)` when
    a worker dies, or ends before its run does.
    """

    def __init__(
        self,
        count: int,
        launcher: Launcher,
        on_event: Callable[[str, str], None],
        on_death: Callable[[int], None],
    ) -> None:
        self.count = count
        self._launcher = launcher
        self._on_event = on_event
        self._on_death = on_death
        self.workers: list[WorkerProcess] = []
        self.failure: Failure | None = None
        self._going_on = False
        self._forced_at = float("inf")

    def reset(self) -> None:
        """Kill the workers of the previous run; the next run gets new ones."""
        self.kill()
        self.failure, self._forced_at, self._going_on = None, float("inf"), False

    def kill(self) -> None:
        """Kill all processes without waiting for their ends."""
        left, self.workers = self.workers, []
        for worker in left:
            worker.kill()

    def close(self) -> None:
        """Kill all processes and wait for their ends."""
        left = self.workers
        self.kill()
        for worker in left:
            if worker.process is not None:
                worker.process.wait()

    def start_missing(self) -> None:
        """Start the workers that do not run: the run goes on and this node may have users."""
        self._going_on = True
        if not self.workers:
            self.workers = [WorkerProcess(index) for index in range(self.count)]
            for worker in self.workers:
                self._start(worker)
        for worker in self.workers:
            if worker.state == "stopped" and not worker.alive:
                worker.incarnation += 1
                self._start(worker)

    def wind_down(self, *, force: bool) -> None:
        """Stop restarting workers, as the run is stopping.

        With `force`, `kill_unresponsive` kills those that do not end.
        """
        self._going_on = False
        if force and self._forced_at == float("inf"):
            self._forced_at = clock.monotonic()
        for worker in self.workers:
            if not worker.alive and worker.state in {"starting", "failed"}:
                worker.note_stopped()

    def _start(self, worker: WorkerProcess) -> None:
        try:
            self._launcher.start(worker, self._on_exit)
        except OSError as error:  # out of memory or processes: retry, as that may pass
            text = f"worker {worker.index + 1} cannot be started: {error.strerror or error}"
            self._on_event("worker-lost", text)
            gevent.spawn_later(START_AGAIN_S, self._restart, worker)

    def _restart(self, worker: WorkerProcess) -> None:
        if worker in self.workers and self._going_on and not worker.alive:
            self._start(worker)

    def _on_exit(self, worker: WorkerProcess) -> None:
        """Restart a worker that died, unless its run is over. Runs in a greenlet of its own."""
        ended = worker.process
        if ended is not None and ended.returncode == 0:
            deadline = clock.monotonic() + LAST_REPORT_S
            while self._lacks_last_report(worker, ended) and clock.monotonic() < deadline:
                gevent.sleep(TICK_S)
        if worker.process is not ended:  # its last report came, and the next process was started
            return
        if worker not in self.workers or worker.state == "stopped":
            return
        if worker.lease_expired:
            text = f"worker {worker.index + 1} (pid {worker.pid}) {LEASE_EXPIRED}"
            self._on_event("worker-lost", text)
            worker.note_stopped(return_later=self._going_on)
            self._on_death(worker.index)
            return
        ended_how = f"worker {worker.index + 1} (pid {worker.pid}) {worker.describe_end()}"
        going_on = self._going_on and worker.state != "failed"
        pause = worker.note_death()
        if not going_on:
            self._on_event("worker-lost", f"{ended_how} while the run was stopping")
            worker.note_stopped()
        elif worker.early_deaths >= START_DEATHS:
            worker.state = "failed"
            text = f"{ended_how} before it was ready, {START_DEATHS} times in a row"
            self.fail(text)
        else:
            worker.state = "starting"
            self._on_event("worker-lost", f"{ended_how}; {RESTARTED}")
            gevent.spawn_later(pause, self._restart, worker)
        self._on_death(worker.index)

    def _lacks_last_report(self, worker: WorkerProcess, ended: object) -> bool:
        """Whether the last report of the process that `ended` is still missing."""
        return worker.process is ended and worker.state != "stopped"

    def apply(self, worker: WorkerProcess, report: Report) -> bool:
        """Update `worker` from its report; return whether the master must know at once.

        It must if the state changed, or if the report is not the regular one of a second.
        """
        before, worker.state = worker.state, report.state
        if report.state == "stopped":
            worker.note_stopped(return_later=self._going_on)
            if self._going_on:
                self._on_death(worker.index)
        elif report.state == "ready":
            if report.users.running != worker.users.running:
                worker.progressed = clock.monotonic()
            worker.users = report.users
        worker.plan_version = report.plan_version
        for second, _ in report.seconds:
            worker.last_second = max(worker.last_second, second)
        worker.health = next(iter(report.health), worker.health)
        if report.failure is not None and self.failure is None:
            self.failure = report.failure
        if before == "starting" and report.state == "ready" and worker.incarnation > 1:
            self._on_event("worker-back", f"worker {worker.index + 1} (pid {worker.pid}) is back")
        return before != report.state or not report.seconds

    def fail(self, why: str) -> None:
        """Fail the run at this node for `why`, unless it has failed before."""
        self.failure = self.failure or Failure(why)

    @property
    def state(self) -> State:
        """The first of failed, starting and ready that any worker is in, else stopped."""
        states = {worker.state for worker in self.workers}
        order: tuple[State, ...] = ("failed", "starting", "ready")
        return next((state for state in order if state in states), "stopped")

    @property
    def users(self) -> UserCounts:
        """The users of all workers, counted by state."""
        return sum((worker.users for worker in self.workers), UserCounts())

    @property
    def restarting(self) -> bool:
        """Whether a worker is being restarted; it must be told which ids have ended."""
        return any(w.incarnation > 1 and w.state == "starting" for w in self.workers)

    def plan_version(self, latest: int) -> int:
        """Return the oldest plan version among ready workers, or `latest` if none is ready."""
        versions = [worker.plan_version for worker in self.workers if worker.state == "ready"]
        return min(versions, default=latest)

    def last_second(self) -> int | None:
        """Return the last second that all ready workers have reported, or None if none is ready."""
        return min((w.last_second for w in self.workers if w.state == "ready"), default=None)

    def silent_seconds(self, node: str, through: float, second: int) -> list[Health]:
        """Return health records of ready workers for unreported seconds up to `through`.

        `second` is the present one. A worker that is silent for SILENT_S seconds is named in an
        event and writes its stack.
        """
        found: list[Health] = []
        for worker in self.workers:
            if worker.state != "ready":
                continue
            if not worker.since:
                worker.since = worker.accounted = second
            missed = worker.silent_seconds(node, int(through))
            found += missed
            if any(one.timer_lag_us == SILENT_S * 1_000_000 for one in missed):
                self._on_event("silent", f"worker {worker.index + 1} (pid {worker.pid}) {SILENT}")
                worker.dump_stack()
        return found

    def kill_unresponsive(self, until: float) -> None:
        """Kill workers that do not obey a forced stop, and all workers after `until` (monotonic s).

        The latter is no failure: they are started again with the next lease.
        """
        now = clock.monotonic()
        for worker in self.workers:
            if now > until and worker.alive:
                worker.lease_expired = True
                worker.kill()
                continue
            forced = self._forced_at < float("inf") and self.failure is None
            spins = forced and worker.state == "starting"  # its init may never return
            answer_by = max(self._forced_at, worker.progressed) + STOP_GRACE_S
            if spins or now > answer_by:
                worker.kill()
