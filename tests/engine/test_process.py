"""Worker processes as their node counts them: how they end, and when they are started again."""

import signal
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from amoc_gevent import clock
from amoc_gevent.core.messages import Report, UserCounts
from amoc_gevent.engine.crew import Crew
from amoc_gevent.engine.process import BACKOFF_MAX_S, WorkerProcess
from tests.servers import wait_for


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
def test_how_it_ended_is_said_in_words(code: int, killed: bool, said: str) -> None:
    assert WorkerProcess(0, process=ended(code), killed=killed).end_in_words() == said


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that the test sets: `now.s`."""
    found = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(clock, "monotonic", lambda: found.s)
    return found


def die(worker: WorkerProcess, now: SimpleNamespace, after: float, *, ready: bool = True) -> float:
    """Let the worker live for a while and die; return how long to wait then."""
    worker.started = now.s
    worker.state = "ready" if ready else "starting"
    now.s += after
    return worker.note_death()


def test_the_first_death_costs_no_wait_and_quick_ones_in_a_row_ever_more(
    now: SimpleNamespace,
) -> None:
    worker = WorkerProcess(0)
    assert [die(worker, now, 1.0) for _ in range(4)] == [0.0, 1.0, 2.0, 4.0]
    assert max(die(worker, now, 1.0) for _ in range(20)) == BACKOFF_MAX_S
    assert die(worker, now, 60.0) == 0.0
    assert die(worker, now, 1.0) == 0.0


def test_deaths_before_it_is_ready_count_however_long_they_took(now: SimpleNamespace) -> None:
    worker = WorkerProcess(0)
    for expected in (1, 2, 3):
        die(worker, now, 60.0, ready=False)
        assert worker.early_deaths == expected
    die(worker, now, 60.0, ready=True)
    assert worker.early_deaths == 0


def test_its_users_wait_after_its_death_apart_from_those_that_were_done(
    now: SimpleNamespace,
) -> None:
    worker = WorkerProcess(0, users=UserCounts(1, 2, 3, 4))
    die(worker, now, 1.0)
    assert worker.users == UserCounts(waiting=6, done=4)
    die(worker, now, 1.0)
    assert worker.users == UserCounts(waiting=6, done=4)
    worker.note_stopped()
    assert (worker.state, worker.users) == ("stopped", UserCounts(done=10))


def test_the_end_of_a_process_that_was_replaced_is_not_the_end_of_the_next() -> None:
    worker, ends = WorkerProcess(0), []
    before = SimpleNamespace(wait=lambda: setattr(worker, "process", ended(0)))
    worker.process = before  # type: ignore[assignment]  # it is played
    worker._wait(before, ends.append)  # type: ignore[arg-type]
    assert ends == []
    worker._wait(worker.process, ends.append)
    assert ends == [worker]


def test_each_life_has_a_number_of_its_own(now: SimpleNamespace) -> None:
    worker = WorkerProcess(0)
    numbers = [worker.incarnation]
    for _ in range(3):
        die(worker, now, 1.0)
        numbers.append(worker.incarnation)
    assert numbers == [1, 2, 3, 4]


def test_each_second_that_a_worker_told_nothing_of_is_told_once() -> None:
    worker = WorkerProcess(1, since=100, accounted=100, last_second=101)
    assert worker.silence("n", 101) == []
    (first,) = worker.silence("n", 102)
    assert (first.node, first.worker, first.second, first.silent) == ("n", 1, 102, True)
    assert first.timer_lag_us == 1_000_000
    assert [one.second for one in worker.silence("n", 104)] == [103, 104]
    worker.last_second = 110
    assert worker.silence("n", 110) == []
    assert [one.second for one in worker.silence("n", 1000)] == [*range(991, 1001)]


def test_a_process_whose_place_the_next_one_took_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its last report comes after its end, and the next is started before anybody looks again."""
    started: list[int] = []
    events: list[str] = []

    def start(worker: WorkerProcess, *_: object) -> None:
        started.append(worker.incarnation)
        worker.state, worker.process = "starting", SimpleNamespace(poll=lambda: None, pid=8)  # type: ignore[assignment]

    monkeypatch.setattr(WorkerProcess, "start", start)
    crew = Crew(1, "", "", lambda kind, _text: events.append(kind), lambda _: None, lambda _: None)
    crew.keep_going()
    [worker] = crew.workers
    worker.state, worker.process = "ready", ended(0)
    waiting = gevent.spawn(crew._on_exit, worker)
    gevent.idle()
    crew.note(worker, Report("0", "1", 1, "r", "stopped"))
    crew.keep_going()
    wait_for(lambda: waiting.dead, what="the look for the last report to end")
    crew._restart(worker)
    assert (started, events) == ([1, 2], [])
