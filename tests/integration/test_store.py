"""The run store of real daemons on a disk that is full, or locked by another process."""

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from gevent import subprocess

from tests import rights
from tests.integration.conftest import Amoc
from tests.integration.homes import Daemons, daemons_of
from tests.integration.terminals import Terminal
from tests.servers import Demo, wait_for

SCENARIO = """
from amoc_gevent import http, settings, user

url = settings.declare("url", "", "who is asked")


def start(user_id):
    session = http.Session(url.value)
    for _ in range(100):
        session.get("/")
        user.sleep(0.02)
    user.sleep(3600)
"""
ALL = 800
DISK = 2 << 20
Failing = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture
def daemons(amoc: Amoc) -> Iterator[Daemons]:
    """Daemons whose home is a small disk of its own, where this process may mount one."""
    home = amoc.directory / "home"
    home.mkdir(mode=0o700)
    with _small_disk(home):
        yield from daemons_of(amoc)


@contextmanager
def _small_disk(place: Path) -> Iterator[None]:
    """Mount one at `place`, while the block lasts."""
    rights.MOUNTS.need()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "amoc-test", str(place)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Leave not a byte on the disk of `place`; return the file that takes it."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return filler


@contextmanager
def full(place: Path) -> Iterator[None]:
    filler = fill(place)
    yield
    filler.unlink()


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Have another process hold the database's lock."""
    code = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(place / "runs.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"locked\n"
    yield
    assert other.stdin is not None
    other.stdin.close()
    other.wait()
    other.stdout.close()


def operations(daemons: Daemons) -> int:
    found = daemons.control().ask({"command": "status"})["operations"]
    return sum(one["count"] for one in found.values())


def summed(daemons: Daemons, run: str) -> int:
    found = daemons.control().ask({"command": "summary", "run": run})["summary"]["operations"]
    return sum(one["count"] for one in found.values())


def started(daemons: Daemons, demo: Demo) -> str:
    """Start a run of 800 requests; return its id when some of them are stored."""
    demo.reset()
    daemons.master()
    daemons.node()
    path = daemons.amoc.scenario(SCENARIO)
    at = ("--set", f"url={demo.url}", "--user-rate", "100/s")
    run: str = daemons.json("do", path, 1, 8, *at)["run"]
    wait_for(lambda: operations(daemons) > 0, 20, "the first requests")
    return run


@pytest.mark.parametrize("failing", [full, locked])
def test_a_run_is_whole_over_a_refused_do_and_the_masters_end(
    daemons: Daemons, demo: Demo, failing: Failing
) -> None:
    run = started(daemons, demo)
    control = daemons.control()
    with failing(daemons.home.path):
        wait_for(lambda: operations(daemons) == ALL, 30, "all requests")
        control.ask({"command": "status"})
        assert control.warning.startswith("the run store ")
        code, said = daemons.amoc.run("stop", "--force")
        assert code == 0
        assert said.count("cannot be written since") == 1
        again = ("do", daemons.amoc.directory / "mine.py", 1, 8)
        for _ in range(2):
            code, said = daemons.amoc.run(*again)
            assert code == 1
            assert said.count("cannot be written since") == len(said.splitlines()) == 1
            assert said.endswith("; no run was started\n")
        assert summed(daemons, run) == ALL == demo.counts()["total"]
        assert "cannot be written since" in daemons.amoc.run("summary")[1]
        assert daemons.amoc.run("shutdown", "master")[1].endswith("or say --force to lose it\n")

    def is_well() -> bool:
        control.ask({"command": "status"})
        return not control.warning

    wait_for(is_well, 20, "the store to be written")
    assert "can be written again" in daemons.log()
    (listed,) = daemons.json("runs")["runs"]
    assert (listed["status"], listed["operations"]) == ("finished", ALL)
    daemons.kill(signal.SIGKILL)
    wait_for(lambda: daemons.pid() is None, what="the end of the master")
    daemons.master()
    assert summed(daemons, run) == ALL
    assert daemons.json("runs")["runs"] == [listed]


def test_what_a_master_loses_it_says(daemons: Daemons, demo: Demo) -> None:
    run = started(daemons, demo)
    with locked(daemons.home.path):
        wait_for(lambda: operations(daemons) == ALL, 30, "all requests")
        daemons.good("stop", "--force")
        said = daemons.good("shutdown", "master", "--force")
    assert f"run {run} is kept in memory, " in said
    assert "would be lost with this master" in daemons.log().splitlines()[-2]


def test_on_a_full_disk_nothing_starts_and_it_is_said_in_a_line(
    daemons: Daemons, amoc: Amoc
) -> None:
    filler = fill(daemons.home.path)
    for command in (("master",), ("keys", "make")):
        code, said = amoc.run(*command)
        assert code == 1
        assert re.search(r"No space left on device|the disk of its log .* is full", said), said
        assert "Traceback" not in said
    assert daemons.pid() is None
    filler.unlink()
    daemons.master()
    assert not list(daemons.home.keys.rglob(".*"))


def test_a_full_disk_keeps_nobody_from_the_prompt(daemons: Daemons, amoc: Amoc) -> None:
    daemons.master()
    fill(daemons.home.path)
    terminal = Terminal(amoc.environment(), "attach")
    try:
        terminal.expect(b"amoc>")
        terminal.type(b"status\r")
        assert b"Unhandled" not in terminal.expect(b"idle, 0 nodes")
    finally:
        terminal.close()
