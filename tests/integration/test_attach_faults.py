"""The prompt outlives what masters answer and what becomes of its input, output and home."""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from gevent import subprocess
from gevent.server import StreamServer

from amoc_gevent.daemon.home import Home
from tests.integration.conftest import Amoc
from tests.integration.terminals import Terminal
from tests.servers import ROOT

GOOD = (
    b'{"ok": true, "result": {"kind": "master", "pid": 42, "version": "1", "home": "/h",'
    b' "log": null, "up_s": 1.0, "run": "5f0c", "paused": true}}\n'
)


class RawMaster:
    """Answers the requests that `answers` names with its bytes, all others well; then hangs up."""

    def __init__(self, home: Home, answers: dict[str, bytes]) -> None:
        self.answers = answers
        self.heard: list[str] = []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(home.make().socket("master")))
        listener.listen()
        listener.setblocking(False)
        self._server = StreamServer(listener, self._serve)
        self._server.start()

    def _serve(self, connection: socket.socket, _address: object) -> None:
        with connection, connection.makefile("rb") as lines:
            verb = json.loads(lines.readline())["command"]
            self.heard.append(verb)
            connection.sendall(self.answers.get(verb, GOOD))

    def close(self) -> None:
        self._server.stop()


Answering = Callable[..., RawMaster]


@pytest.fixture
def answering(amoc: Amoc) -> Iterator[Answering]:
    """Return what starts a master with such answers."""
    started: list[RawMaster] = []

    def start(**answers: bytes) -> RawMaster:
        started.append(RawMaster(Home(amoc.directory / "home"), answers))
        return started[-1]

    yield start
    for one in started:
        one.close()


def attached(amoc: Amoc, text: bytes, redirected: str = "") -> tuple[int, list[str]]:
    """Pipe `text` into attach; return its exit code and the lines of what it wrote."""
    command = [sys.executable, "-m", "amoc_gevent", "attach"]
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$@" {redirected}', "bash", *command],
        input=text,
        env=amoc.environment(),
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    return done.returncode, done.stdout.decode().splitlines()


CANNOT = "this amoc cannot read the load generator's answer"
UNREADABLE = {
    b"": "the load generator has ended",
    b'{"ok": true, "res': "the load generator ended before its answer was complete",
    b"\xff\xfe\n": CANNOT,
    b"HTTP/1.1 400 Bad Request\n": CANNOT,
    b"[]\n": CANNOT,
    b"null\n": CANNOT,
    b"{}\n": CANNOT,
    b'{"ok": true}\n': CANNOT,
    b'{"ok": true, "result": [1]}\n': CANNOT,
    b'{"ok": false}\n': CANNOT,
    b"[" * 100_000 + b"\n": CANNOT,
    b'{"ok": true, "result": {}}\n': f"{CANNOT} (KeyError: 'status'): are both the same release?",
    b'{"ok": true, "result": {"status": []}}\n': CANNOT,
    b'{"ok": false, "error": "internal error: no"}\n': "internal error: no",
}


@pytest.mark.parametrize("answer", UNREADABLE)
def test_an_answer_that_is_none_is_a_line_and_the_prompt_goes_on(
    amoc: Amoc, answering: Answering, answer: bytes
) -> None:
    master = answering(status=answer)
    code, lines = attached(amoc, b"status\npause\n")
    assert (code, len(lines)) == (1, 2), lines
    assert lines[0].startswith(UNREADABLE[answer])
    assert lines[1] == "run 5f0c is paused: no new users start"
    assert master.heard == ["daemon", "status", "pause"]


@pytest.mark.parametrize(
    "line", ["do x 1 2", "add 1", "nodes", "runs", "summary", "watch", "stop", "watch --json"]
)
@pytest.mark.parametrize("answer", [b'{"ok": true, "more": true, "result": {}}\n', b"[]\n"])
def test_so_it_is_for_every_verb(
    amoc: Amoc, answering: Answering, line: str, answer: bytes
) -> None:
    answering(**{line.split(maxsplit=1)[0]: answer})
    code, lines = attached(amoc, f"{line}\npause\n".encode())
    assert (code, len(lines)) == (1, 2), lines
    assert lines[0].startswith(CANNOT)
    code, said = amoc.run(*line.split())
    assert (code, said.splitlines()) == (1, [f"amoc: {lines[0]}"])


def test_a_line_of_bytes_that_are_no_text_fails_alone(amoc: Amoc, answering: Answering) -> None:
    answering()
    code, lines = attached(amoc, b"do \xff\xfe 1 2\nadd 'ten\n\x00\npause\n")
    assert code == 1
    assert "is not UTF-8" in lines[0]
    assert lines[-1].startswith("run 5f0c is paused")
    assert "Traceback" not in "".join(lines)


def test_what_is_piped_in_is_carried_out_where_nobody_reads_the_answers(
    amoc: Amoc, answering: Answering
) -> None:
    master = answering()
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-m", "amoc_gevent", "attach"]
        done = subprocess.run(
            command,
            input=b"pause\nresume\npause\n",
            env=amoc.environment(),
            cwd=ROOT,
            check=False,
            stdout=write,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
    assert master.heard == ["daemon", "pause", "resume", "pause"]


def test_a_full_disk_for_the_answers_is_said_once(amoc: Amoc, answering: Answering) -> None:
    master = answering()
    code, lines = attached(amoc, b"pause\nresume\n", ">/dev/full")
    said = "the output cannot be written: No space left on device"
    assert (code, lines) == (1, [said])
    assert master.heard == ["daemon", "pause", "resume"]


def test_names_that_a_master_cannot_tell_are_not_offered(amoc: Amoc, answering: Answering) -> None:
    answering(nodes=b'{"ok": true, "result": {"nodes": [7]}}\n', runs=b"[]\n", status=b"{}\n")
    with closing(Terminal(amoc.environment(), "attach")) as terminal:
        terminal.expect(b"amoc>")
        for keys in (b"add 1 --nodes w\t", b"summary \t", b"set th\t"):
            terminal.type(keys + b"\x03")
            terminal.expect(b"amoc>")
        terminal.type(b"pause\r")
        terminal.expect(b"run 5f0c is paused")
        terminal.type(b"\x04")
        terminal.expect(b"detached: " + CANNOT.encode())
        assert terminal.wait() == 0


def test_bytes_typed_that_are_no_text_and_a_history_that_cannot_be_kept(
    amoc: Amoc, answering: Answering
) -> None:
    answering()
    Home(amoc.directory / "home").make().history.mkdir()
    with closing(Terminal(amoc.environment(), "attach")) as terminal:
        terminal.expect(b"amoc>")
        for keys, answer in ((b"add \xff\r", b"not a valid integer"), (b"pause\r", b"is paused")):
            terminal.type(keys)
            terminal.expect(answer)
            terminal.expect(b"amoc>")
        terminal.type(b"\x04")
        assert terminal.wait() == 0
