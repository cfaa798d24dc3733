"""The watchdog on a core that other processes keep busy: it names blocking users and no other."""

from typing import Any

import pytest

from tests.contention import busy_core, run_on

PROGRAM = """
from gevent import monkey
monkey.patch_all()

import json
import time
from gevent.monkey import get_original
import gevent
from amoc_gevent import clock
from amoc_gevent.worker.health import HealthMonitor
from amoc_gevent.worker.watchdog import Watchdog
from tests.servers import wait_for
from tests.worker.crowd import Crowd

sleep = get_original("time", "sleep")


def work():
    until_ns = clock.cpu_ns() + 40_000_000  # of CPU time, which is no blocking
    while clock.cpu_ns() < until_ns:
        pass


def spin():
    while True:
        pass


def start(user_id):
    if user_id == 2:
        BLOCK()
    else:
        work()


crowd = Crowd(start, repeat_interval=0.0, on_user_error="remove")
named = []
health = HealthMonitor("here", 0)
watchdog = Watchdog(lambda found: named.append((found.user_id, found.place)), 0.3)
gevent.sleep(0)
crowd.add(3)
ENOUGH
crowd.users.stop(force=True)
watchdog.stop()
ended = [(user_id, type(error).__name__) for user_id, error in crowd.errors]
print(json.dumps({"named": named, "ended": ended, "lag_ms": health._late_ns / 1e6}))
"""

MEASURED = """
from amoc_gevent.worker.cpu_wait import times_of
times = times_of(__import__("_thread").get_native_id())
wait_for(lambda: times.read().waited > 2e9 and crowd.rounds.total() > 6, 60, "a busy core")
"""

NAMED = "wait_for(lambda: crowd.errors and named, 60, 'the name')"


def watched(core: int, block: str, enough: str, nice: int) -> dict[str, Any]:
    program = PROGRAM.replace("BLOCK", block).replace("ENOUGH", enough)
    found: dict[str, Any] = run_on(core, program, nice)
    return found


@pytest.mark.processes
def test_no_user_is_named_or_ended_because_its_worker_waited_for_a_cpu() -> None:
    with busy_core(2) as core:
        found = watched(core, "work", MEASURED, nice=5)
    assert (found["named"], found["ended"]) == ([], [])
    assert found["lag_ms"] > 50  # which is marked as lag, so it is not hidden


@pytest.mark.processes
@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize("block", ["spin", "(lambda: sleep(60))"], ids=["spins", "sleeps"])
def test_a_user_that_blocks_is_named_and_ended_on_a_busy_core_as_well(
    block: str, processes: int
) -> None:
    with busy_core(processes) as core:
        found = watched(core, block, NAMED, nice=0)
    assert [user_id for user_id, _ in found["named"]] == [2]
    assert found["ended"] == [[2, "UserBlocked"]]
