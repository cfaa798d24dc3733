"""The supervisor of a node's workers, without processes and sockets."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from amoc_gevent.core.messages import Failure, Health, Report, State, UserCounts
from amoc_gevent.node import process as process_module
from amoc_gevent.node import supervisor as module
from amoc_gevent.node.process import WorkerProcess
from amoc_gevent.node.supervisor import START_DEATHS, STOP_GRACE_S, WorkerSupervisor
from tests.worker.crowd import until

NEVER = float("inf")


class PlayedProcess:
    """A fake process that ends when the test sets its exit code, or when it is killed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.signals: list[int] = []

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self.returncode = -9

    def send_signal(self, number: int) -> None:
        self.signals.append(number)


class PlayedLauncher:
    """Starts fake processes; the first `refuse` starts fail for lack of memory."""

    def __init__(self) -> None:
        self.started: list[tuple[int, int]] = []
        self.refuse = 0
        self.on_exit: Callable[[WorkerProcess], None] = lambda _worker: None

    def start(self, worker: WorkerProcess, on_exit: Callable[[WorkerProcess], None]) -> None:
        if self.refuse:
            self.refuse -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.on_exit = on_exit
        worker.state, worker.killed, worker.lease_expired = "starting", False, False
        self.started.append((worker.index, worker.incarnation))
        worker.process = PlayedProcess(100 + len(self.started))  # type: ignore[assignment]


class Stage:
    """A supervisor of two workers, and its events."""

    def __init__(self) -> None:
        self.launcher = PlayedLauncher()
        self.events: list[tuple[str, str]] = []
        self.deaths: list[int] = []
        self.supervisor = WorkerSupervisor(
            2,
            self.launcher,  # type: ignore[arg-type]  # plays one
            lambda kind, text: self.events.append((kind, text)),
            self.deaths.append,
        )

    @property
    def workers(self) -> list[WorkerProcess]:
        return self.supervisor.workers

    def report(self, worker: WorkerProcess, state: State = "ready", **more: Any) -> bool:
        """Have a worker report; return whether the master must know at once."""
        report = Report(str(worker.index), str(worker.incarnation), 1, "r", state, **more)
        return self.supervisor.apply(worker, report)

    def ready(self, running: int = 5) -> list[WorkerProcess]:
        """Have both workers become ready, with running users."""
        self.supervisor.start_missing()
        for worker in self.workers:
            self.report(worker, users=UserCounts(running=running))
        return self.workers

    def die(self, worker: WorkerProcess, code: int = -11) -> None:
        """End a worker's process."""
        assert worker.process is not None
        worker.process.returncode = code
        self.launcher.on_exit(worker)

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.events]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(module, "START_AGAIN_S", 0.01)
    monkeypatch.setattr(process_module, "BACKOFF_MAX_S", 0.01)
    return Stage()


class SetClock:
    """A clock that the test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    found = SetClock(1000.0)
    monkeypatch.setattr(module, "clock", found)
    return found


# Start


def test_all_workers_are_started_once(stage: Stage) -> None:
    assert stage.supervisor.state == "stopped"
    stage.supervisor.start_missing()
    stage.supervisor.start_missing()
    assert stage.launcher.started == [(0, 1), (1, 1)]
    assert stage.supervisor.state == "starting"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("ready", "ready"), "ready"),
        (("ready", "starting"), "starting"),
        (("failed", "starting"), "failed"),
        (("stopped", "ready"), "ready"),
        (("stopped", "stopped"), "stopped"),
    ],
)
def test_the_state_of_the_node_is_that_of_its_least_advanced_worker(
    stage: Stage, states: tuple[State, State], expected: str
) -> None:
    stage.supervisor.start_missing()
    for worker, state in zip(stage.workers, states, strict=True):
        worker.state = state
    assert stage.supervisor.state == expected


def test_a_worker_that_cannot_be_started_is_retried(stage: Stage) -> None:
    stage.launcher.refuse = 1
    stage.supervisor.start_missing()
    assert stage.texts == ["worker 1 cannot be started: Resource temporarily unavailable"]
    until(lambda: sorted(stage.launcher.started) == [(0, 1), (1, 1)], "the second attempt")


def test_workers_that_ended_with_the_lease_start_again_with_the_next(stage: Stage) -> None:
    worker, _ = stage.ready()
    assert worker.process is not None
    worker.process.returncode = 0
    stage.report(worker, "stopped")
    assert stage.deaths == [0]
    assert worker.users == UserCounts(), "they return later, so they are not done"
    stage.supervisor.start_missing()
    assert stage.launcher.started[-1] == (0, 2)
    assert stage.supervisor.restarting


# Death


def test_a_dead_worker_is_restarted_and_its_users_wait(stage: Stage) -> None:
    worker, _ = stage.ready()
    pid = worker.pid
    stage.die(worker)
    ((kind, text),) = stage.events
    assert kind == "worker-lost"
    assert text == (
        f"worker 1 (pid {pid}) was killed by signal 11 (SIGSEGV); it is started again and its "
        "users return; what it had not reported is lost"
    )
    assert stage.deaths == [0]
    assert stage.supervisor.users == UserCounts(waiting=5, running=5)
    until(lambda: stage.launcher.started[-1] == (0, 2), "the restart")
    assert stage.supervisor.restarting
    stage.report(worker)
    assert stage.events[-1] == ("worker-back", f"worker 1 (pid {worker.pid}) is back")
    assert not stage.supervisor.restarting


def test_a_worker_that_never_gets_ready_fails_its_node(stage: Stage) -> None:
    stage.supervisor.start_missing()
    worker = stage.workers[0]
    for death in range(1, START_DEATHS + 1):
        until(lambda death=death: worker.alive and worker.incarnation == death, "the next start")
        stage.die(worker, 3)
    assert worker.state == "failed"
    assert stage.supervisor.failure is not None
    assert stage.supervisor.failure.message.endswith(
        f"ended with exit code 3 before it was ready, {START_DEATHS} times in a row"
    )


def test_a_worker_that_dies_while_the_run_stops_is_not_started_again(stage: Stage) -> None:
    worker, _ = stage.ready()
    stage.supervisor.wind_down(force=False)
    stage.die(worker)
    assert stage.texts[-1].endswith("while the run was stopping")
    assert worker.users == UserCounts(done=5)
    assert len(stage.launcher.started) == 2


def test_the_end_of_a_worker_of_the_previous_run_is_no_death(stage: Stage) -> None:
    worker, _ = stage.ready()
    stage.supervisor.reset()
    assert not worker.alive
    stage.launcher.on_exit(worker)
    assert (stage.events, stage.deaths) == ([], [])


def test_no_worker_is_restarted_after_the_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart, asked = stage.supervisor._restart, []
    monkeypatch.setattr(
        stage.supervisor, "_restart", lambda worker: asked.append(restart(worker) or worker)
    )
    stage.launcher.refuse = 1
    stage.supervisor.start_missing()
    stage.supervisor.wind_down(force=False)
    until(lambda: asked, "the restart to be due")
    assert stage.launcher.started == [(1, 1)]


# Unresponsive workers


@pytest.mark.parametrize(
    ("after", "progressed", "killed"),
    [
        (STOP_GRACE_S - 0.1, 0.0, False),
        (STOP_GRACE_S + 0.1, 0.0, True),
        # it is not killed while its users are still ending
        (STOP_GRACE_S + 0.1, 1.0, False),
    ],
)
def test_a_forced_worker_that_makes_no_progress_is_killed(
    stage: Stage, clock: SetClock, after: float, progressed: float, killed: bool
) -> None:
    worker, _ = stage.ready()
    stage.supervisor.wind_down(force=True)
    worker.progressed = clock.now + progressed
    clock.now += after
    stage.supervisor.kill_unresponsive(NEVER)
    assert worker.killed is killed
    assert not worker.lease_expired


def test_a_gentle_stop_kills_no_worker(stage: Stage, clock: SetClock) -> None:
    worker, _ = stage.ready()
    stage.supervisor.wind_down(force=False)
    clock.now += 3600
    stage.supervisor.kill_unresponsive(NEVER)
    assert worker.alive


@pytest.mark.parametrize("failed", [False, True])
def test_a_forced_stop_kills_a_worker_in_init_at_once(
    stage: Stage, clock: SetClock, failed: bool
) -> None:
    stage.supervisor.start_missing()
    stage.supervisor.failure = Failure("no") if failed else None
    stage.supervisor.wind_down(force=True)
    for worker in stage.workers:
        worker.progressed = clock.now
    stage.supervisor.kill_unresponsive(NEVER)
    assert stage.workers[0].killed is not failed


def test_a_worker_killed_after_the_lease_is_no_failure(stage: Stage, clock: SetClock) -> None:
    worker, _ = stage.ready()
    stage.supervisor.kill_unresponsive(clock.now)
    assert worker.alive
    clock.now += 0.1
    stage.supervisor.kill_unresponsive(clock.now - 0.05)
    assert worker.lease_expired
    stage.launcher.on_exit(worker)
    [(kind, text)] = stage.events
    assert kind == "worker-lost"
    assert text.endswith("was killed; what it had not reported is lost")
    assert stage.deaths == [0]
    assert (worker.state, worker.users) == ("stopped", UserCounts())
    stage.supervisor.start_missing()
    assert (0, 2) in stage.launcher.started


def test_a_process_that_was_replaced_after_its_last_report_is_not_reported_lost(
    stage: Stage,
) -> None:
    """Its last report comes after its end, and its successor starts before the next look."""
    worker, _ = stage.ready()
    assert worker.process is not None
    worker.process.returncode = 0
    waiting = gevent.spawn(stage.launcher.on_exit, worker)
    gevent.idle()
    stage.report(worker, "stopped")
    stage.supervisor.start_missing()
    assert worker.alive
    until(lambda: waiting.dead, "the wait for the last report to end")
    assert stage.events == []
    assert stage.launcher.started == [(0, 1), (1, 1), (0, 2)]


def test_a_running_worker_is_not_started_twice(stage: Stage) -> None:
    worker, _ = stage.ready()
    stage.supervisor._restart(worker)
    assert stage.launcher.started == [(0, 1), (1, 1)]


# Reports


def test_a_changed_state_or_an_extra_report_is_urgent(stage: Stage) -> None:
    stage.supervisor.start_missing()
    worker = stage.workers[0]
    second = ((7, None),)
    assert stage.report(worker, seconds=second)  # type: ignore[arg-type]
    assert not stage.report(worker, seconds=second)
    assert stage.report(worker)
    assert worker.last_second == 7


def test_the_node_keeps_the_first_failure(stage: Stage) -> None:
    first, second = stage.ready()
    stage.report(second, "failed", failure=Failure("second"))
    stage.report(first, "failed", failure=Failure("first"))
    assert stage.supervisor.failure == Failure("second")
    stage.supervisor.reset()
    assert stage.supervisor.failure is None


def test_the_plan_version_of_a_node_is_that_of_its_slowest_ready_worker(stage: Stage) -> None:
    first, second = stage.ready()
    assert stage.supervisor.plan_version(9) == 0
    stage.report(first, plan_version=7)
    stage.report(second, plan_version=8)
    assert stage.supervisor.plan_version(9) == 7
    first.state = "starting"
    assert stage.supervisor.plan_version(9) == 8
    second.state = "stopped"
    assert stage.supervisor.plan_version(9) == 9


def test_a_silent_worker_is_named_and_writes_its_stack_once(stage: Stage) -> None:
    first, second = stage.ready()
    health = Health("a", 0, 100, 1, 0.5, 0, 0, 0, 0, 0)
    for worker in (first, second):
        worker.since = worker.accounted = 100
    stage.report(first, seconds=((100, None),), health=(health,))  # type: ignore[arg-type]
    second.last_second = 106
    found = [
        one for at in range(100, 107) for one in stage.supervisor.silent_seconds("a", at, at + 2)
    ]
    assert [(one.worker, one.second, one.silent) for one in found] == [
        (0, second_, True) for second_ in range(101, 107)
    ]
    (told,) = stage.events
    assert told[0] == "silent"
    assert told[1].startswith(f"worker 1 (pid {first.pid}) has not reported for 3 s")
    assert len(first.process.signals) == 1  # type: ignore[union-attr]
