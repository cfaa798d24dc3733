"""The workers of a node: started, watched, started again, and ended."""

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
WHAT_A_DEATH_COSTS = "it is started again and its users return; what it had not reported is lost"

OUTLAWED = (
    "did not end when its node's lease was over, and was killed; what it had not reported is lost"
)

SILENCE = f"has not reported for {SILENT_S} s: one call holds it, or it was stopped"


class WorkerSupervisor:
    """Supervises `count` worker processes for one run at a time, started by `launcher`.

    `on_event(kind, text)` hears what a reader of the summary wants to know, and `on_death(index)`
    of a worker that died or ended while the run went on.
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

    def renew(self) -> None:
        """Kill what is left of a run that is over; the next one gets new workers."""
        self.kill()
        self.failure, self._forced_at, self._going_on = None, float("inf"), False

    def kill(self) -> None:
        """Kill all processes, and wait for none."""
        left, self.workers = self.workers, []
        for worker in left:
            worker.kill()

    def close(self) -> None:
        """Kill all processes, and wait for their ends."""
        left = self.workers
        self.kill()
        for worker in left:
            if worker.process is not None:
                worker.process.wait()

    def keep_going(self) -> None:
        """Start the workers that are not there: the run goes on, and this node may have users."""
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
        """Start no worker again: the run is stopping. Those that do not answer are killed later."""
        self._going_on = False
        if force and self._forced_at == float("inf"):
            self._forced_at = clock.monotonic()
        for worker in self.workers:
            if not worker.alive and worker.state in {"starting", "failed"}:
                worker.note_stopped()

    def _start(self, worker: WorkerProcess) -> None:
        try:
            self._launcher.start(worker, self._on_exit)
        except OSError as error:  # no memory or no process left: it may be better in a while
            text = f"worker {worker.index + 1} cannot be started: {error.strerror or error}"
            self._on_event("worker-lost", text)
            gevent.spawn_later(START_AGAIN_S, self._restart, worker)

    def _restart(self, worker: WorkerProcess) -> None:
        if worker in self.workers and self._going_on and not worker.alive:
            self._start(worker)

    def _on_exit(self, worker: WorkerProcess) -> None:
        """Start a worker that died again, unless its run is over; runs in a greenlet of its own."""
        ended = worker.process
        if ended is not None and ended.returncode == 0:
            deadline = clock.monotonic() + LAST_REPORT_S
            while self._is_silent(worker, ended) and clock.monotonic() < deadline:
                gevent.sleep(TICK_S)
        if worker.process is not ended:  # its last report came, and the next process runs
            return
        if worker not in self.workers or worker.state == "stopped":
            return
        if worker.outlawed:
            text = f"worker {worker.index + 1} (pid {worker.pid}) {OUTLAWED}"
            self._on_event("worker-lost", text)
            worker.note_stopped(return_later=self._going_on)
            self._on_death(worker.index)
            return
        words = f"worker {worker.index + 1} (pid {worker.pid}) {worker.end_in_words()}"
        going_on = self._going_on and worker.state != "failed"
        pause = worker.note_death()
        if not going_on:
            self._on_event("worker-lost", f"{words} while the run was stopping")
            worker.note_stopped()
        elif worker.early_deaths >= START_DEATHS:
            worker.state = "failed"
            text = f"{words} before it was ready, {START_DEATHS} times in a row"
            self.fail(text)
        else:
            worker.state = "starting"
            self._on_event("worker-lost", f"{words}; {WHAT_A_DEATH_COSTS}")
            gevent.spawn_later(pause, self._restart, worker)
        self._on_death(worker.index)

    def _is_silent(self, worker: WorkerProcess, ended: object) -> bool:
        """Whether the last report of a process that ended has not come so far."""
        return worker.process is ended and worker.state != "stopped"

    def note(self, worker: WorkerProcess, report: Report) -> bool:
        """Take over what a worker says of itself; return whether that is news."""
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
        """The state of the whole node: failed or starting where one worker is, then ready."""
        states = {worker.state for worker in self.workers}
        order: tuple[State, ...] = ("failed", "starting", "ready")
        return next((state for state in order if state in states), "stopped")

    @property
    def users(self) -> UserCounts:
        """The users of all workers by state."""
        return sum((worker.users for worker in self.workers), UserCounts())

    @property
    def returning(self) -> bool:
        """Whether a worker is being started that was there before: it must hear who has ended."""
        return any(w.incarnation > 1 and w.state == "starting" for w in self.workers)

    def plan_version(self, latest: int) -> int:
        """Return the version of the plan that all workers follow who follow any, else `latest`."""
        versions = [worker.plan_version for worker in self.workers if worker.state == "ready"]
        return min(versions, default=latest)

    def last_second(self) -> int | None:
        """Return the last second that all workers that are ready have reported."""
        return min((w.last_second for w in self.workers if w.state == "ready"), default=None)

    def silence(self, node: str, through: float, second: int) -> list[Health]:
        """Return how those fared that told nothing of seconds up to `through`; it is `second` now.

        One that is silent for long is named, and asked where it stands.
        """
        found: list[Health] = []
        for worker in self.workers:
            if worker.state != "ready":
                continue
            if not worker.since:
                worker.since = worker.accounted = second
            missed = worker.silence(node, int(through))
            found += missed
            if any(one.timer_lag_us == SILENT_S * 1_000_000 for one in missed):
                self._on_event("silent", f"worker {worker.index + 1} (pid {worker.pid}) {SILENCE}")
                worker.say_where()
        return found

    def kill_unresponsive(self, until: float) -> None:
        """Kill workers that do not end by force, and all workers after `until`.

        The latter are no failures: they are started again when they may be.
        """
        now = clock.monotonic()
        for worker in self.workers:
            if now > until and worker.alive:
                worker.outlawed = True
                worker.kill()
                continue
            forced = self._forced_at < float("inf") and self.failure is None
            spins = forced and worker.state == "starting"  # its init may never come back
            answer_by = max(self._forced_at, worker.progressed) + STOP_GRACE_S
            if spins or now > answer_by:
                worker.kill()
