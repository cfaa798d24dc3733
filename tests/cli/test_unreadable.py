"""Directories, files and homes that cannot be read: a line and the right code, no traceback."""

import os
import sys
from pathlib import Path

import pytest
from gevent import subprocess

from tests.rights import held_to_modes
from tests.servers import ROOT

pytestmark = pytest.mark.processes

LONG = "a" * 300
CLOSED = 'cd "$0" && chmod "$MODE" . && exec "$@"'
ONCE = ("1", "1", "--repeat-num", "1", "--set", "url=http://127.0.0.1:1", "--quiet")
NOTHING = "amoc: none of 1 operation succeeded"
SCENARIO = '"""Does nothing."""\n\ndef init(): ...\ndef start(user_id): ...\n'


def amoc(
    directory: Path, *arguments: object, mode: str = "755", **env: str
) -> tuple[int, str, list[str]]:
    """Run amoc in a directory of that mode, held to the modes of files.

    Return its exit code, what it wrote, and the lines of its errors.
    """
    command = [sys.executable, "-m", "amoc_gevent", *map(str, arguments)]
    done = subprocess.run(
        ["sh", "-c", CLOSED, str(directory), *held_to_modes(), *command],
        check=False,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MODE": mode, **env},
    )
    return done.returncode, done.stdout, done.stderr.splitlines()


@pytest.fixture
def place(tmp_path: Path, home: Path) -> Path:
    """A working directory with scenarios that cannot be read, each in its way."""
    scenarios = tmp_path / "work/scenarios"
    scenarios.mkdir(parents=True)
    for name in ("closed", "fine", os.fsdecode(b"\xff")):
        (scenarios / f"{name}.py").write_text(SCENARIO)
    (scenarios / "closed.py").chmod(0)
    (scenarios / "loop.py").symlink_to("loop.py")
    (tmp_path / "locked").mkdir(mode=0)
    (scenarios / "far.py").symlink_to(tmp_path / "locked/far.py")
    return tmp_path / "work"


@pytest.mark.parametrize("mode", ["000", "444"])
def test_in_a_directory_that_may_not_be_read_the_shipped_scenarios_are_there(
    place: Path, mode: str
) -> None:
    code, said, lines = amoc(place, "scenarios", mode=mode)
    assert (code, lines) == (0, ["amoc: scenarios cannot be read: Permission denied"])
    assert "\nhttp_shop " in said
    assert amoc(place, "describe", "http_shop", mode=mode)[::2] == (0, [])
    assert amoc(place, "run", "http_hello", *ONCE, mode=mode) == (1, "", [NOTHING])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("describe nowhere", "there is no scenario nowhere in "),
        ("try nowhere", "there is no scenario nowhere in "),
        ("run nowhere 1 2", "there is no scenario nowhere in "),
        ("doctor nowhere 1", "there is no scenario nowhere in "),
        (f"run {LONG} 1 2", f"there is no scenario {LONG} in "),
        ("run ./mine.py 1 2", "mine.py cannot be read: Permission denied"),
        ("describe scenarios/fine.py", "scenarios/fine.py cannot be read: Permission denied"),
        (f"run http_shop 1 2 --summary {{place}}/{LONG}/s.json", "{place}/aaa"),
        ("run http_shop 1 2 --summary {place}/s.json", "{place}/s.json cannot be written"),
    ],
)
def test_what_is_not_found_from_there_is_wrong_usage_of_one_line(
    place: Path, words: str, said: str
) -> None:
    code, _, (line,) = amoc(place, *words.format(place=place).split(), mode="000")
    assert code == 2
    assert line.startswith(f"amoc: {said.format(place=place)}")
    if "nowhere" in words:
        assert "and scenarios cannot be read: Permission denied; there are: http_" in line


@pytest.mark.parametrize("words", ["describe {}", "run {} 1 2"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("closed", "scenarios/closed.py cannot be read: Permission denied"),
        ("loop", "loop.py cannot be read: Too many levels of symbolic links"),
        ("far", "far.py cannot be read: Permission denied"),
        ("scenarios/loop.py", "loop.py cannot be read: Too many levels of symbolic links"),
        ("fine.py/x.py", "there is no scenario at fine.py/x.py; there are: "),
        ("scenarios/fine.py/x.py", "there is no scenario at scenarios/fine.py/x.py; there are: "),
        ("~nobody-is-called-so/x.py", "there is no scenario at ~nobody-is-called-so/x.py"),
        (f"./{LONG}.py", f"{LONG}.py cannot be read: File name too long"),
    ],
)
def test_a_scenario_that_cannot_be_read_is_wrong_usage_of_one_line(
    place: Path, words: str, name: str, said: str
) -> None:
    code, _, (line,) = amoc(place, *words.format(name).split())
    assert code == 2
    assert said in line


def test_a_list_has_what_cannot_be_read_with_the_reason(place: Path) -> None:
    code, said, lines = amoc(place, "scenarios")
    rows = dict(" ".join(line.split()).split(" ", 1) for line in said.splitlines())
    assert (code, lines) == (0, [])
    assert rows["closed"] == "error: Permission denied"
    assert rows["far"] == "error: Permission denied"
    assert rows["loop"] == "error: Too many levels of symbolic links"
    assert rows["fine"] == "Does nothing."
    assert rows["\\udcff"] == "Does nothing."  # a name of bytes that are no text


@pytest.mark.parametrize("words", ["scenarios --json", "describe \udcff", "try \udcff"])
def test_a_name_that_is_no_text_is_written_all_the_same(place: Path, words: str) -> None:
    code, said, lines = amoc(place, *words.split())
    assert (code, lines) == (0, [])
    assert "\\udcff" in said or words.startswith("try")


HOMES = {
    "{place}/../locked/home": "AMOC_HOME {place}/locked/home cannot be used: Permission denied",
    "{place}/scenarios/loop.py": "cannot be used: Too many levels of symbolic links",
    "/etc/passwd": "AMOC_HOME /etc/passwd cannot be used: Not a directory",
    f"/tmp/{LONG}": "cannot be used: File name too long",
    "~nobody-is-called-so/home": "there is no such home directory: set AMOC_HOME to a directory",
}
VERBS = ("status", "do http_shop 1 2", "keys make", "shutdown", "master")


@pytest.mark.parametrize("words", VERBS)
@pytest.mark.parametrize("home", HOMES)
def test_a_home_that_cannot_be_entered_is_a_line(place: Path, words: str, home: str) -> None:
    code, said, lines = amoc(place, *words.split(), AMOC_HOME=home.format(place=place))
    assert (code, said, len(lines)) == (1, "", 1), lines
    assert HOMES[home].format(place=place.parent) in lines[0]
