"""Tests that lack a right: skipped with its name and counted in the last line, failed under CI."""

import os
import sys
from pathlib import Path

import pytest
from gevent import subprocess

from tests import rights
from tests.servers import ROOT

pytestmark = pytest.mark.processes

TESTS = """
import errno
import pytest
from tests.rights import Right

def refuse(number, text):
    raise OSError(number, text)

FLY = Right("fly", lambda: refuse(errno.EPERM, "no wings"))
DIVE = Right("dive", lambda: refuse(errno.ENOSYS, "no water"))
WALK = Right("walk", lambda: None)
BREAK = Right("break", lambda: refuse(errno.ECONNRESET, "a defect"))

@pytest.fixture
def sky():
    FLY.need()

@pytest.mark.parametrize("n", range(3))
def test_sky(sky, n): pass
def test_sea(): DIVE.need()
def test_land(): WALK.need()
def test_other(): pytest.skip("not today")
"""


def ran(
    directory: Path, *arguments: object, within: tuple[str, ...] = (), **env: str
) -> tuple[int, list[str]]:
    """Run pytest with the plugin; return its exit code and what it said, line by line."""
    without = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *arguments]
    done = subprocess.run(
        [*within, *map(str, command)],
        check=False,
        capture_output=True,
        text=True,
        cwd=directory,
        env={**without, "PYTHONPATH": str(ROOT), **env},
    )
    return done.returncode, (done.stdout + done.stderr).splitlines()


def written(directory: Path, tests: str) -> tuple[str, ...]:
    """Write a project of tests of its own; return what has pytest run it."""
    (directory / "test_it.py").write_text(tests)
    (directory / "pytest.ini").write_text("[pytest]\n")
    return ("-p", "tests.rights")


@pytest.mark.parametrize("processes", [(), ("-n", "2")])
def test_what_lacks_a_right_is_skipped_and_the_last_line_counts_it(
    tmp_path: Path, processes: tuple[str, ...]
) -> None:
    code, lines = ran(tmp_path, *written(tmp_path, TESTS), *processes)
    assert code == 0, lines
    assert "1 passed, 5 skipped" in lines[-2]
    assert lines[-1] == "4 skipped for want of a right: 1 to dive, 3 to fly"
    assert any("there is no right to fly: no wings" in line for line in lines)


@pytest.mark.parametrize("ci", ["1", "true"])
def test_where_ci_is_set_it_fails(tmp_path: Path, ci: str) -> None:
    code, lines = ran(tmp_path, *written(tmp_path, TESTS), CI=ci)
    assert code == 1
    assert "1 failed, 1 passed, 1 skipped, 3 errors" in lines[-1]
    assert any("no right to dive: no water; it is not skipped" in line for line in lines)


def test_a_defect_is_no_lack_of_a_right(tmp_path: Path) -> None:
    tests = f"{TESTS}\ndef test_defect(): BREAK.need()\n"
    code, lines = ran(tmp_path, *written(tmp_path, tests))
    assert code == 1
    assert any("ConnectionResetError" in line for line in lines)
    assert "1 failed" in lines[-2]


def test_with_all_rights_there_is_no_such_line(tmp_path: Path) -> None:
    _, lines = ran(tmp_path, *written(tmp_path, TESTS), "-k", "land")
    assert "1 passed" in lines[-1]


NETWORK = "tests/net/test_network.py"
TERMINAL = "tests/integration/test_console.py::test_on_a_terminal_there_is_a_prompt_with_completion"
NO_PTY = 'mount -t tmpfs none /dev/pts && exec "$@"'


def test_root_without_the_capabilities_is_told_which_right_it_lacks() -> None:
    rights.NETWORKS.need()
    less = ("/usr/bin/setpriv", "--bounding-set=-sys_admin,-net_admin")
    code, lines = ran(ROOT, NETWORK, "-k", "same_addresses", within=less)
    assert (code, lines[-1]) == (
        0,
        "1 skipped for want of a right: 1 to make network namespaces",
    ), lines


def test_without_pseudo_terminals_that_right_is_named() -> None:
    rights.MOUNTS.need()
    within = ("unshare", "--mount", "sh", "-c", NO_PTY, "sh")
    code, lines = ran(ROOT, TERMINAL, within=within)
    assert (code, lines[-1]) == (
        0,
        "1 skipped for want of a right: 1 to open pseudo terminals",
    ), lines
    code, lines = ran(ROOT, TERMINAL, within=within, CI="1")
    assert (code, "1 error" in lines[-1]) == (1, True), lines
