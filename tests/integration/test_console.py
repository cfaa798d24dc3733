"""`amoc console`: verbs act on a local run, lines can be piped, nothing stays behind."""

import os
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from gevent import subprocess
from gevent.os import forkpty_and_watch, waitpid

from tests import rights
from tests.integration.conftest import Amoc
from tests.integration.piped import piped
from tests.servers import ROOT, Demo, wait_for

SCENARIO = """
from amoc_gevent import http, settings, user

url = settings.declare("url", "http://127.0.0.1:1", "the service")
pages = settings.declare("pages", 1, "pages an iteration", update=True, verify=lambda n: n < 9)


def start(user_id):
    if user_id == 13:
        raise ValueError("unlucky")
    with http.Session(url.value) as session:
        for _ in range(pages.value):
            session.get("/")
"""


def test_piped_verbs_act_on_the_run_and_the_exit_code_is_zero(amoc: Amoc, demo: Demo) -> None:
    path = amoc.scenario(SCENARIO)

    code, said = piped(
        amoc,
        f"do {path} 1 5 --user-rate 500/s --repeat-interval 100ms --set url={demo.url}",
        "add 5",
        "remove 3 --force",
        "set pages 2",
        "set user_rate 100/s",
        "status",
        "stop",
    )

    assert code == 0, said
    assert "added users 6 to 10" in said
    assert "removed 3 users" in said
    assert "pages = 2" in said
    assert "user_rate = 100/s" in said
    assert "mine running" in said


def test_each_wrong_line_is_answered_and_fails_the_pipe(amoc: Amoc) -> None:
    path = amoc.scenario(SCENARIO)

    code, said = piped(
        amoc,
        "add 3",
        "do nowhere 1 2",
        f"do {path} 1 2 --set ulr=x",
        f"do {path} 1 2 --repeat-interval 50ms",
        f"do {path} 1 2",
        "set pages 9",
        "set url http://127.0.0.1:2",
        "set nonsense 1",
        "remove 0",
    )

    assert code == 1
    for text in (
        "there is no run",
        "there is no scenario nowhere",
        "did you mean url",
        "stop it before the next one",
        "setting pages",
        "setting url cannot be changed during a run",
        "there is no setting nonsense",
        "remove 0",
    ):
        assert text in said
    assert "Traceback" not in said


def test_what_a_user_raised_is_shown_as_it_happens(amoc: Amoc, demo: Demo) -> None:
    path = amoc.scenario(SCENARIO)

    code, said = piped(
        amoc,
        f"do {path} 13 13 --user-rate 500/s --repeat-num 1 --set url={demo.url}",
        until="unlucky",
    )

    assert code == 0
    assert "user 13 failed with ValueError at" in said


class Terminal:
    """`amoc console` on a terminal of its own, which is typed at and looked at."""

    def __init__(self, amoc: Amoc) -> None:
        rights.PTY.need()
        self.shown = bytearray()
        self._child, self._terminal = forkpty_and_watch()
        if self._child == 0:
            os.chdir(ROOT)
            os.environ.update(amoc.environment(), TERM="xterm", PROMPT_TOOLKIT_NO_CPR="1")
            command = [sys.executable, "-m", "amoc_gevent", "console", "--workers", "1"]
            os.execv(sys.executable, command)
        termios.tcsetwinsize(self._terminal, (24, 80))
        os.set_blocking(self._terminal, False)

    def type(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def expect(self, text: bytes) -> None:
        """Wait until `text` is shown that was not there at the last call; forget up to it."""
        wait_for(lambda: text in self._seen(), what=f"{text!r} on the terminal")
        del self.shown[: self.shown.index(text) + len(text)]

    def wait(self) -> int:
        """Return the exit code, once it has ended."""
        ended: list[int] = []

        def over() -> bool:
            self._seen()
            pid, status = waitpid(self._child, os.WNOHANG)
            ended.extend([status] if pid else [])
            return bool(pid)

        wait_for(over, what="the end of the console")
        return os.waitstatus_to_exitcode(ended[0])

    def close(self) -> None:
        os.close(self._terminal)

    def _seen(self) -> bytearray:
        with suppress(OSError):  # nothing new, or it has ended
            self.shown.extend(os.read(self._terminal, 65536))
        return self.shown


@pytest.fixture
def terminal(amoc: Amoc) -> Iterator[Terminal]:
    """A console on a terminal."""
    found = Terminal(amoc)
    yield found
    found.close()


def test_on_a_terminal_there_is_a_prompt_with_completion(amoc: Amoc, terminal: Terminal) -> None:
    terminal.expect(b"amoc>")
    terminal.type(b"stat")
    terminal.expect(b"status")
    terminal.type(b"\t\r")
    terminal.expect(b"idle, 1 node: start a run")
    terminal.type(b"do http_shop 1 5 --set th")
    terminal.expect(b"think=")
    terminal.type(b"\x03\x04")
    assert terminal.wait() == 0
    assert "status" in (amoc.directory / "home/history").read_text()
    assert list(amoc.sockets.iterdir()) == []


SLOW = """
from pathlib import Path
import gevent
began, go = Path("{directory}/began"), Path("{directory}/go")


def init():
    began.touch()
    while not go.exists():
        gevent.sleep(0.01)


def start(user_id):
    pass
"""


def test_what_is_typed_while_a_command_is_carried_out_comes_after_it(
    amoc: Amoc, terminal: Terminal
) -> None:
    path = amoc.scenario(SLOW.format(directory=amoc.directory))
    terminal.expect(b"amoc>")
    terminal.type(f"do {path} 1 2\r".encode())
    wait_for((amoc.directory / "began").exists, what="the scenario's init")
    terminal.type(b"status\r")
    terminal.type(b"\x04")
    (amoc.directory / "go").touch()
    terminal.expect(b"mine running")
    assert terminal.wait() == 0
    assert list(amoc.sockets.iterdir()) == []


def test_a_long_path_of_temporary_files_keeps_nobody_from_the_console(
    amoc: Amoc, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    code, said = piped(amoc, "status", env={"TMPDIR": str(long), "XDG_RUNTIME_DIR": str(long)})
    assert code == 0, said
    assert "idle" in said


def test_an_init_that_raises_is_shown_with_its_traceback(amoc: Amoc) -> None:
    path = amoc.scenario("def init():\n    raise ValueError('no luck')\n\n\ndef start(i): pass\n")
    code, said = piped(amoc, f"do {path} 1 2")
    assert code == 1
    assert "raise ValueError('no luck')" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(amoc: Amoc, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "amoc_gevent", "console", "--workers", "1"],
        cwd=ROOT,
        env=amoc.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as console:
        assert console.stdin is not None
        assert console.stdout is not None
        console.stdin.write(b"status\n")
        console.stdin.flush()
        assert console.stdout.readline().startswith(b"idle")
        console.send_signal(number)
        assert console.wait(20) == 128 + number
    assert list(amoc.sockets.iterdir()) == []
