"""Worker processes: they are started again when they die, and nothing is left when a run ends."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from amoc_gevent import clock
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.core.run.commands import Add, Stop
from amoc_gevent.core.run.plan import Options
from tests.integration.clusters import steered
from tests.integration.conftest import Amoc
from tests.integration.journal import PRELUDE, Journal
from tests.servers import Process, wait_for

FAST = Options(user_rate=500.0, repeat_interval=0.05, on_user_error="remove", stop_timeout=2.0)

STEADY = """

def start(user_id):
    note("round")
    if user_id in {1, 4}:
        raise ValueError("done with it")
"""

LONG = """

def start(user_id):
    note("begun")
    gevent.sleep(3600)
"""


def pids_by_id(journal: Journal) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for line in journal.lines():
        found.setdefault(line.user_id, set()).add(line.pid)
    return found


def test_the_users_of_a_killed_worker_are_back_within_3_s_and_the_others_notice_nothing(
    tmp_path: Path,
) -> None:
    began = clock.monotonic()
    with steered(tmp_path, STEADY, last=10, options=FAST) as run:
        wait_for(lambda: set(run.journal.ids()) == set(range(1, 11)), what="all users")
        first = clock.monotonic() - began
        run.until_counts(done=2)
        odd = next(line.pid for line in run.journal.lines() if line.user_id == 3)
        before = run.journal.lines()

        os.kill(odd, signal.SIGKILL)
        killed = clock.monotonic()

        def back() -> bool:
            new = {line.user_id for line in run.journal.lines() if line.pid not in pids}
            return new >= {3, 5, 7, 9}

        pids = {line.pid for line in before}
        wait_for(back, 30, "the users of the killed worker")
        # On a machine where a first start takes longer than that, a second one may, too.
        assert clock.monotonic() - killed < max(3.0, 2 * first)
        wait_for(lambda: run.events("worker-back"), what="the event")
        run.until_counts(done=2)
        assert run.users.total == 10
        run.master.handle(Stop())
        assert run.end().status == "finished"

    where = pids_by_id(run.journal)
    assert all(len(where[user_id]) == 2 for user_id in (3, 5, 7, 9))
    assert all(len(where[user_id]) == 1 for user_id in (2, 4, 6, 8, 10))
    ids = Counter(run.journal.ids())
    assert (ids[1], ids[4]) == (1, 1), "who was done before the crash did not come back"
    (lost,) = run.events("worker-lost")
    assert lost.startswith(f"worker 1 (pid {odd}) was killed by signal 9 (SIGKILL); ")
    assert "what it had not reported is lost" in lost


def test_a_restarted_worker_runs_the_sources_of_the_run_though_they_were_edited(
    tmp_path: Path,
) -> None:
    with steered(tmp_path, STEADY, last=10, options=FAST) as run:
        wait_for(lambda: set(run.journal.ids()) == set(range(1, 11)), what="all users")
        path = Path(run.run.plan.scenario)
        path.write_text(path.read_text().replace('note("round")', 'note("edited")'))
        odd = next(line.pid for line in run.journal.lines() if line.user_id == 3)
        os.kill(odd, signal.SIGKILL)
        wait_for(lambda: run.events("worker-back"), what="the worker to be back")
        wait_for(lambda: len({line.pid for line in run.journal.lines()}) > 2, what="its users")
        assert run.journal.lines("edited") == []


def test_users_of_a_dead_worker_wait_in_the_count_until_they_are_back(tmp_path: Path) -> None:
    with steered(tmp_path, LONG, last=4) as run:
        run.until_counts(running=4)
        victim = next(line.pid for line in run.journal.lines() if line.user_id == 1)
        os.kill(victim, signal.SIGKILL)
        run.until_counts(waiting=2, running=2)
        run.until_counts(running=4)
        assert sorted(run.journal.ids()) == [1, 1, 2, 3, 3, 4]


def test_a_restarted_worker_obeys_what_was_removed_and_added_meanwhile(tmp_path: Path) -> None:
    with steered(tmp_path, LONG, last=4) as run:
        run.until_counts(running=4)
        os.kill(run.journal.lines()[0].pid, signal.SIGKILL)
        run.until_counts(waiting=2)
        run.master.handle(Add(2))
        run.until_counts(running=6)
        assert sorted(run.journal.ids()) == [1, 1, 2, 3, 3, 4, 5, 6]
        assert run.users == UserCounts(running=6)


DIES_EARLY = """

def init():
    os._exit(3)


def start(user_id):
    note("begun")
"""


def test_a_worker_that_dies_again_and_again_before_it_is_ready_fails_the_run(
    tmp_path: Path,
) -> None:
    with steered(tmp_path, DIES_EARLY, workers=1) as run:
        ended = run.end()
        assert ended.status == "failed"
        assert ended.failure is not None
        said = ended.failure.message
        assert said.startswith("worker 1 (pid ")
        assert said.endswith("ended with exit code 3 before it was ready, 3 times in a row")
        assert run.journal.lines() == []


def test_a_worker_that_exits_with_success_in_mid_run_has_died_too(tmp_path: Path) -> None:
    source = """

def start(user_id):
    note("begun")
    if user_id == 1 and len(open(path.value).readlines()) < 3:
        gevent.sleep(0.1)
        os._exit(0)
    gevent.sleep(3600)
"""
    with steered(tmp_path, source, last=2) as run:
        wait_for(lambda: run.journal.ids().count(1) == 2, what="user 1 to come back")
        run.until_counts(running=2)
        assert "ended with exit code 0; it is started again" in run.events("worker-lost")[0]


# The command line


def start_run(amoc: Amoc, source: str, *options: object) -> tuple[Process, Journal]:
    journal = Journal(amoc.directory)
    process = amoc.start(
        *("run", amoc.scenario(PRELUDE + source), 1, 4, "--user-rate", "500/s", "--workers", 2),
        *("--set", journal.setting, "--summary", amoc.summary_path, *options),
    )
    wait_for(lambda: len(journal.lines("begun")) == 4, 20.0, "all users to begin")
    return process, journal


def end_by_force(process: Process) -> None:
    """Send two signals, different ones: a process sees two of a kind as one."""
    process.popen.send_signal(signal.SIGINT)
    process.popen.send_signal(signal.SIGTERM)
    assert process.wait() == 0, process.said()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_at_once_is_one_gentle_stop(
    amoc: Amoc, number: signal.Signals
) -> None:
    process, _ = start_run(amoc, LONG.replace("3600", "1"))

    os.killpg(process.pid, number)

    assert process.wait() == 0, process.said()
    amoc.assert_nothing_left(process)
    summary = amoc.summary()
    assert summary["users"]["iterations"] == 4
    assert [event["kind"] for event in summary["events"]] == ["start", "stop"]


def test_a_forced_stop_leaves_nothing_behind(amoc: Amoc) -> None:
    process, _ = start_run(amoc, LONG)
    end_by_force(process)
    amoc.assert_nothing_left(process)


def test_nothing_is_left_behind_when_the_master_is_killed(amoc: Amoc) -> None:
    process, journal = start_run(amoc, LONG)
    assert len({line.pid for line in journal.lines()}) == 2

    process.popen.kill()

    process.wait()
    amoc.assert_nothing_left(process)


def test_a_run_sweeps_up_after_one_that_was_killed_with_its_workers(amoc: Amoc) -> None:
    process, _ = start_run(amoc, LONG)
    killed = amoc.processes()
    for one in killed:
        one.suspend()  # else the first that goes is noticed by the others
    for one in killed:
        one.kill()
    process.wait()
    assert len(list(amoc.sockets.iterdir())) == 1

    process, _ = start_run(amoc, LONG, "--duration", "100ms", "--stop-timeout", "0s")

    assert process.wait() == 0, process.said()
    amoc.assert_nothing_left(process)


def test_runs_beside_each_other_leave_each_other_alone(amoc: Amoc) -> None:
    first, _ = start_run(amoc, LONG)
    (sockets,) = amoc.sockets.iterdir()
    code, said = amoc.run(
        "run", amoc.scenario("def start(i): pass\n", "other"), 1, 1, "--repeat-num", 1
    )
    assert code == 0, said
    assert list(amoc.sockets.iterdir()) == [sockets]
    end_by_force(first)
    amoc.assert_nothing_left(first)


def test_what_a_crash_cost_is_in_the_summary(amoc: Amoc) -> None:
    process, journal = start_run(amoc, LONG)
    os.kill(journal.lines()[0].pid, signal.SIGKILL)
    wait_for(lambda: len(journal.lines("begun")) == 6, 20.0, "the users to come back")
    end_by_force(process)
    kinds = [event["kind"] for event in amoc.summary()["events"]]
    assert kinds.count("worker-lost") == kinds.count("worker-back") == 1


def test_a_worker_that_one_call_holds_is_named_and_its_seconds_are_marked(tmp_path: Path) -> None:
    source = """
import re

def start(user_id):
    note("begun")
    if user_id == 1:
        re.match("(a+)+$", "a" * 60 + "b")  # longer than anybody lives, in one call
    gevent.sleep(3600)
"""
    with steered(tmp_path, source, last=4, options=FAST) as run:
        wait_for(lambda: run.events("silent"), 30, "the event")
        wait_for(lambda: any("in start" in line for line in run.output), what="its stack")
        run.master.handle(Stop(force=True))
        ended = run.end()
    (silent,) = run.events("silent")
    held = run.journal.lines()[0].pid
    assert f"(pid {held}) has not reported for 3 s" in silent
    assert any("re/__init__.py" in line for line in run.output), run.output
    assert [row.marks for row in ended.results.rows].count(("lag",)) >= 3


def test_a_second_signal_ends_an_init_that_spins_at_once(amoc: Amoc) -> None:
    source = (
        "def init():\n    print('begun', flush=True)\n    while True:\n        pass\n"
        "\n\ndef start(i): pass\n"
    )
    process = amoc.start("run", amoc.scenario(source), 1, 4, "--workers", 1)
    process.expect("begun")
    sent = clock.monotonic()
    end_by_force(process)
    assert clock.monotonic() - sent < 3.0
    amoc.assert_nothing_left(process)
