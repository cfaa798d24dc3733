"""Scenarios that misbehave: each fault has its name in the run, which ends when told to."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from amoc_gevent import clock
from amoc_gevent.core.run.commands import Stop
from amoc_gevent.core.run.plan import Options
from amoc_gevent.node.supervisor import STOP_GRACE_S
from tests.integration.clusters import steered
from tests.servers import wait_for

OPTIONS = Options(user_rate=500.0, repeat_interval=0.05, stop_timeout=0.3)

BEGINNINGS = {
    "init raises": (
        "def init():\n    raise KeyError('seed')\n",
        r"steered\.py:\d+: init raised KeyError: 'seed'",
    ),
    "init exits": (
        "import sys\n\n\ndef init():\n    sys.exit('enough')\n",
        r"steered\.py:\d+: init raised SystemExit: sys\.exit\(enough\)",
    ),
    "init is interrupted": (
        "def init():\n    raise KeyboardInterrupt\n",
        "the scenario cannot be loaded: KeyboardInterrupt",
    ),
    "init ends its greenlet": (
        "def init():\n    raise gevent.GreenletExit\n",
        "the scenario cannot be loaded: GreenletExit",
    ),
    "a syntax error": ("def init()\n    pass\n", r"steered\.py:\d+: expected ':': def init\(\)"),
    "a missing package": ("import nonesuch\n", r"steered\.py:\d+: needs the module nonesuch"),
    "a setting whose default is invalid": (
        "word = settings.declare('word', 'a', 'said', verify=['b'])\n",
        r"setting word: 'a' \(default\): allowed are b",
    ),
}


@pytest.mark.parametrize("case", BEGINNINGS)
def test_a_scenario_that_cannot_begin_is_one_failure_and_starts_nobody(
    tmp_path: Path, case: str
) -> None:
    source, said = BEGINNINGS[case]
    start = '\n\ndef start(user_id):\n    note("begun")\n'
    with steered(tmp_path, "\n\n" + source + start, options=OPTIONS) as run:
        ended = run.end()
        assert (ended.status, ended.started_at) == ("failed", 0.0)
        assert ended.failure is not None
        assert re.search(said, ended.failure.message)
        assert "\n" not in ended.failure.message
        assert ended.failure.usage is (case == "a setting whose default is invalid")
        assert run.journal.lines() == []
        assert run.events("worker-lost") == []


SPINS = """

def start(user_id):
    note("begun")
    if user_id == 2:
        while True:
            pass
"""

BLOCKS = """
from gevent.monkey import get_original

blocking_sleep = get_original("time", "sleep")


def start(user_id):
    note("begun")
    if user_id == 2:
        blocking_sleep(3600)
"""

SWALLOWS = """

def start(user_id):
    note("begun")
    while True:
        try:
            gevent.sleep(3600)
        except BaseException:
            note("swallowed")
"""

SPINS_AND_SWALLOWS = """

def start(user_id):
    note("begun")
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue
"""

TERMINATE_HANGS = """

def terminate():
    gevent.sleep(3600)


def start(user_id):
    note("begun")
"""


@pytest.mark.parametrize(
    "source",
    [SPINS, BLOCKS, SWALLOWS, SPINS_AND_SWALLOWS, TERMINATE_HANGS],
    ids=["spins", "blocks", "swallows", "spins and swallows", "terminate hangs"],
)
def test_a_run_ends_when_told_to_whatever_its_users_do(tmp_path: Path, source: str) -> None:
    with steered(tmp_path, source, last=4, options=OPTIONS) as run:
        wait_for(lambda: len(set(run.journal.ids("begun"))) >= 2, what="users")
        told = clock.monotonic()
        run.master.handle(Stop())
        ended = run.end()
        assert clock.monotonic() - told < OPTIONS.stop_timeout + STOP_GRACE_S + 3.0
        assert ended.status == "finished"


def test_a_user_that_never_yields_is_named_with_its_stack_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    options = replace(OPTIONS, on_user_error="remove")
    with steered(tmp_path, SPINS, last=6, options=options) as run:
        wait_for(lambda: run.journal.ids().count(4) >= 3, 20.0, "its neighbour to go on")
        wait_for(lambda: run.events("blocked"), what="the event")
        text = run.events("blocked")[0]
        assert text.startswith("user 2 blocked its worker for more than 1")
        first, _, stack = text.partition("\n")
        assert re.search(r" ms at steered\.py:\d+ in start$", first)
        assert "steered.py" in stack
        wait_for(lambda: run.run.results.total.errors, what="the error")
        (error,) = run.run.results.total.errors.values()
        assert error.type == "UserBlocked"
        assert "user 2: held its worker for" in error.message
        assert "steered.py:" in error.place
        run.master.handle(Stop(force=True))
        run.end()


EXITS = """
import sys


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def start(user_id):
    note("begun")
    if user_id == 1:
        sys.exit(5)
    if user_id == 2:
        raise KeyboardInterrupt
    if user_id == 3:
        raise Mute
    if user_id == 4:
        user.spawn(sys.exit, 6)
        gevent.sleep(0.01)
    if user_id == 5:
        gevent.spawn(sys.exit, 7)
        gevent.sleep(0.01)
    if user_id == 6:
        start(user_id)
"""


def test_whatever_users_raise_is_grouped_and_ends_no_worker(tmp_path: Path) -> None:
    with steered(tmp_path, EXITS, last=8, options=OPTIONS) as run:
        expected = {"SystemExit", "KeyboardInterrupt", "Mute", "RecursionError"}

        def types() -> set[str]:
            return {error.type for error in run.run.results.total.errors.values()}

        wait_for(lambda: types() >= expected, 20.0, "each error")
        wait_for(lambda: min(map(run.journal.ids().count, range(1, 9))) >= 2, what="rounds")
        run.master.handle(Stop())
        results = run.end().results
        assert types() == expected
        exits = sum(e.count for e in results.total.errors.values() if e.type == "SystemExit")
        ids = run.journal.ids()
        assert exits == ids.count(1) + ids.count(4) + ids.count(5)
        assert run.events("worker-lost") == []
        assert len({line.pid for line in run.journal.lines()}) == 2


LEAKS = """
import resource
import socket

kept = []


def init():
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, used + 20))


def start(user_id):
    kept.append(socket.socket())
"""


def test_sockets_that_a_scenario_leaks_are_its_users_errors_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    with steered(tmp_path, LEAKS, last=10, options=OPTIONS) as run:
        wait_for(lambda: run.run.results.total.failed > 20, 20.0, "failed rounds")
        (error,) = run.run.results.total.errors.values()
        assert error.type == "OSError"
        assert "Too many open files" in error.message
        run.master.handle(Stop())
        assert run.end().status == "finished"
        assert run.events("worker-lost") == []
