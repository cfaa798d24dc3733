"""The command `amoc` itself: help at once, and every expected error in a line or two."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from gevent import subprocess

from amoc_gevent import __version__
from amoc_gevent.cli import main as cli
from amoc_gevent.errors import AmocError, ScenarioError, UsageError
from tests.servers import ROOT

pytestmark = pytest.mark.processes


def amoc(*args: str) -> Result:
    return CliRunner().invoke(cli.main, list(args), prog_name="amoc")


def finished(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs a command which ends by raising or returning what is given."""

    def run(end: BaseException | int | None) -> Result:
        @click.command()
        def probe() -> int | None:
            if isinstance(end, BaseException):
                raise end
            return end

        monkeypatch.setattr(cli, "probe", probe, raising=False)
        monkeypatch.setitem(cli.COMMANDS, "probe", cli.Lazy(f"{cli.__name__}:probe", "Probe."))
        return amoc("probe")

    return run


def test_help_names_the_commands_and_the_exit_codes() -> None:
    result = amoc("--help")
    assert result.exit_code == 0
    for name, lazy in cli.COMMANDS.items():
        assert (lazy.help in result.output) is not lazy.hidden, name
    for line in ("0  finished", "1  the run failed", "2  wrong usage"):
        assert line in result.output


def test_help_imports_no_command_and_nothing_that_a_run_needs() -> None:
    program = (
        "import sys\nfrom amoc_gevent.__main__ import main\n"
        "sys.argv[1:] = ['--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'gevent', 'zmq', 'requests', 'rich', 'ssl', 'asyncio'} & set(sys.modules)\n"
        "own = {m for m in sys.modules if m.startswith('amoc_gevent.')}\n"
        "sys.exit(f'{heavy} {own}' if heavy or len(own) > 4 else 0)\n"
    )
    done = finished(sys.executable, "-c", program)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_names_the_commit_of_the_checkout() -> None:
    head = finished("git", "-C", str(ROOT), "rev-parse", "HEAD").stdout.strip()
    found = re.fullmatch(r"amoc (\S+) \((?:\S+-g)?(\w+)(?:-dirty)?\)\n", amoc("--version").output)
    assert found is not None
    assert found[1] == __version__
    assert head.startswith(found[2])


def test_a_version_is_dirty_by_what_amoc_is_not_by_whose_machines_it_is_to_use(
    tmp_path: Path,
) -> None:
    finished("git", "clone", "--quiet", str(ROOT), str(tmp_path / "clone"))

    def version_with(changed: str) -> str:
        with (tmp_path / "clone" / changed).open("a") as file:
            file.write("\n# changed\n")
        command = (sys.executable, str(tmp_path / "clone/bin/amoc"), "--version")
        return finished(*command).stdout.strip()

    assert not version_with("hosts.ini").endswith("-dirty)")
    assert version_with("setup.py").endswith("-dirty)")


def test_amoc_alone_shows_its_help_as_wrong_usage() -> None:
    result = amoc()
    assert result.exit_code == 2
    assert "Commands:" in result.output


def test_an_unknown_command_gets_the_one_that_was_meant() -> None:
    result = amoc("describ")
    assert result.exit_code == 2
    assert result.stderr == (
        "amoc: there is no command describ; did you mean describe?\nSee amoc --help\n"
    )


def test_an_unknown_command_like_no_other_gets_them_all() -> None:
    assert "there are run, console, master, node, attach" in amoc("xyzzy").stderr


def test_hidden_commands_are_neither_listed_nor_suggested() -> None:
    assert "worker" not in amoc("xyzzy").stderr
    assert "did you mean" not in amoc("workr").stderr


def test_a_wrong_option_is_two_lines_that_name_the_command() -> None:
    result = amoc("scenarios", "--jsn")
    assert result.exit_code == 2
    first, second = result.stderr.splitlines()
    assert first.startswith("amoc scenarios: no such option")
    assert "--json" in first
    assert second == "See amoc scenarios --help"


@pytest.mark.parametrize(
    ("end", "code", "stderr"),
    [
        (None, 0, ""),
        (0, 0, ""),
        (1, 1, ""),
        (AmocError("no route"), 1, "amoc: no route\n"),
        (UsageError("no such setting"), 2, "amoc: no such setting\n"),
        (ScenarioError("a.py:1: no", "Traceback\n  a"), 1, "amoc: a.py:1: no\nTraceback\n  a\n"),
        (click.Abort(), 130, ""),
        (click.UsageError("Bad thing."), 2, "amoc probe: bad thing\nSee amoc probe --help\n"),
    ],
)
def test_a_command_ends_with_its_code_and_one_line(
    ending: Callable[..., Result], end: BaseException | int | None, code: int, stderr: str
) -> None:
    result = ending(end)
    assert (result.exit_code, result.stderr) == (code, stderr)


def test_an_interrupt_is_quiet(ending: Callable[..., Result]) -> None:
    result = ending(KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr.strip() == ""


def test_a_defect_of_ours_is_not_hidden(ending: Callable[..., Result]) -> None:
    assert isinstance(ending(ZeroDivisionError()).exception, ZeroDivisionError)


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{sys.executable} -m amoc_gevent scenarios --json | true"
    done = finished("bash", "-c", command)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", ["describe http_shop", "--help", "--version"])
def test_a_full_disk_is_one_line(arguments: str) -> None:
    done = finished("bash", "-c", f"{sys.executable} -m amoc_gevent {arguments} >/dev/full")
    said = "amoc: the output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_an_output_that_was_closed_before_is_no_traceback() -> None:
    done = finished("bash", "-c", f"{sys.executable} -m amoc_gevent scenarios >&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", ["scenarios", "describe http_shop", "run http_shop 1 2"])
def test_a_working_directory_that_is_gone_is_one_line(tmp_path: Path, arguments: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && {sys.executable} -m amoc_gevent {arguments}"
    done = finished("env", f"PYTHONPATH={ROOT}", "bash", "-c", command)
    said = "amoc: the working directory is gone: change to one that exists\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize("arguments", ["run http_shop 1 2", "console", "master"])
def test_a_level_of_the_log_that_there_is_not_is_one_line(tmp_path: Path, arguments: str) -> None:
    places = (f"PYTHONPATH={ROOT}", f"AMOC_HOME={tmp_path}", "AMOC_LOG=bogus")
    done = finished("env", *places, sys.executable, "-m", "amoc_gevent", *arguments.split())
    assert done.returncode == (1 if arguments == "master" else 2)
    (line,) = done.stderr.splitlines()
    known = "DEBUG, INFO, WARNING, ERROR, CRITICAL"
    assert line.endswith(f"AMOC_LOG: there is no level bogus; there are {known}")


@pytest.mark.parametrize("name", ["scenarios", "describe", "status", "attach", "master", "node"])
def test_plain_clients_run_unpatched(name: str) -> None:
    assert patched(name) == "False"


@pytest.mark.parametrize("name", ["run", "try", "worker", "demo"])
def test_commands_that_hold_users_or_sockets_run_patched(name: str) -> None:
    assert patched("--some-option", name) == "True"


@pytest.mark.parametrize("name", ["master", "node"])
def test_daemons_run_patched_in_the_foreground(name: str) -> None:
    assert patched(name, "--foreground") == "True"


def patched(*args: str) -> str:
    """Return whether sockets are gevent's when the command line takes over."""
    program = (
        "import sys\nfrom amoc_gevent import __main__ as entry\n"
        "import amoc_gevent.cli.main as cli\n"
        "def report():\n"
        "    from gevent import monkey\n"
        "    print(monkey.is_module_patched('socket'))\n"
        "cli.main = report\n"
        f"sys.argv[1:] = {list(args)!r}\nentry.main()\n"
    )
    done = finished(sys.executable, "-c", program)
    assert done.stderr == ""
    return done.stdout.strip()
