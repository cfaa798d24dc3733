"""Worker processes: how they end, restart delays, and silent seconds."""

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from amoc_gevent import clock
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.node.process import BACKOFF_MAX_S, WorkerProcess


def ended(code: int) -> Any:
    return SimpleNamespace(returncode=code, pid=7, poll=lambda: code, wait=lambda: code)


@pytest.mark.parametrize(
    ("code", "killed", "said"),
    [
        (0, False, "ended with exit code 0"),
        (3, False, "ended with exit code 3"),
        (-signal.SIGKILL, False, "was killed by signal 9 (SIGKILL)"),
        (-signal.SIGSEGV, False, "was killed by signal 11 (SIGSEGV)"),
        (-signal.SIGKILL, True, "did not end when it was told to, and was killed"),
    ],
)
def test_the_end_is_described(code: int, killed: bool, said: str) -> None:
    assert WorkerProcess(0, process=ended(code), killed=killed).describe_end() == said


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that the test sets: `now.s`."""
    found = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(clock, "monotonic", lambda: found.s)
    return found


def die(worker: WorkerProcess, now: SimpleNamespace, after: float, *, ready: bool = True) -> float:
    """Let the worker die after so many seconds; return the restart delay."""
    worker.started = now.s
    worker.state = "ready" if ready else "starting"
    now.s += after
    return worker.note_death()


def test_the_first_restart_is_immediate_and_quick_deaths_in_a_row_back_off(
    now: SimpleNamespace,
) -> None:
    worker = WorkerProcess(0)
    assert [die(worker, now, 1.0) for _ in range(4)] == [0.0, 1.0, 2.0, 4.0]
    assert max(die(worker, now, 1.0) for _ in range(20)) == BACKOFF_MAX_S
    assert die(worker, now, 60.0) == 0.0
    assert die(worker, now, 1.0) == 0.0


def test_deaths_before_ready_count_however_late_they_are(now: SimpleNamespace) -> None:
    worker = WorkerProcess(0)
    for expected in (1, 2, 3):
        die(worker, now, 60.0, ready=False)
        assert worker.early_deaths == expected
    die(worker, now, 60.0, ready=True)
    assert worker.early_deaths == 0


def test_users_of_a_dead_worker_wait_unless_they_were_done(
    now: SimpleNamespace,
) -> None:
    worker = WorkerProcess(0, users=UserCounts(1, 2, 3, 4))
    die(worker, now, 1.0)
    assert worker.users == UserCounts(waiting=6, done=4)
    die(worker, now, 1.0)
    assert worker.users == UserCounts(waiting=6, done=4)
    worker.note_stopped()
    assert (worker.state, worker.users) == ("stopped", UserCounts(done=10))


def test_the_end_of_a_replaced_process_is_ignored() -> None:
    worker, ends = WorkerProcess(0), []
    before = SimpleNamespace(wait=lambda: setattr(worker, "process", ended(0)))
    worker.process = before  # type: ignore[assignment]  # it is played
    worker._wait(before, ends.append)  # type: ignore[arg-type]
    assert ends == []
    worker._wait(worker.process, ends.append)
    assert ends == [worker]


def test_each_process_has_its_own_incarnation_number(now: SimpleNamespace) -> None:
    worker = WorkerProcess(0)
    numbers = [worker.incarnation]
    for _ in range(3):
        die(worker, now, 1.0)
        numbers.append(worker.incarnation)
    assert numbers == [1, 2, 3, 4]


def test_each_silent_second_is_returned_once() -> None:
    worker = WorkerProcess(1, since=100, accounted=100, last_second=101)
    assert worker.silent_seconds("n", 101) == []
    (first,) = worker.silent_seconds("n", 102)
    assert (first.node, first.worker, first.second, first.silent) == ("n", 1, 102, True)
    assert first.timer_lag_us == 1_000_000
    assert [one.second for one in worker.silent_seconds("n", 104)] == [103, 104]
    worker.last_second = 110
    assert worker.silent_seconds("n", 110) == []
    assert [one.second for one in worker.silent_seconds("n", 1000)] == [*range(991, 1001)]
