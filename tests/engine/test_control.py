"""The control socket: each line is answered, whatever it is, and whatever the handler does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket

from amoc_gevent.core.commands import Add, Command, Set, Status
from amoc_gevent.engine.control import LINE_MAX, ControlServer
from amoc_gevent.errors import AmocError, UsageError


def handle(command: Command) -> dict[str, object]:
    if command == Add(1):
        raise UsageError("add 1: no")
    if command == Add(2):
        raise AmocError("there is no run")
    if command == Add(3):
        raise ZeroDivisionError("oops")
    if isinstance(command, Set):
        gevent.sleep(3600)
    return {"heard": type(command).__name__}


class Client:
    """One connection."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._socket.settimeout(20)
        self._lines = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def ask(self, data: bytes) -> dict[str, Any]:
        self.send(data + b"\n")
        return self.answer()

    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._lines.readline())
        return found

    def ended(self) -> bool:
        return self._lines.readline() == b""

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "control"
    server = ControlServer(found, handle)
    yield found
    server.close()
    assert not found.exists()


@pytest.fixture
def client(path: Path) -> Iterator[Client]:
    found = Client(path)
    yield found
    found.close()


def test_only_its_owner_may_use_it(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_each_line_of_a_connection_is_answered_in_turn(client: Client) -> None:
    client.send(b'{"command": "status"}\n{"command": "add", "count": 9}\n')
    assert client.answer() == {"ok": True, "result": {"heard": "Status"}}
    assert client.answer() == {"ok": True, "result": {"heard": "Add"}}


@pytest.mark.parametrize(
    ("line", "said", "usage"),
    [
        (b"", "not a line of JSON", True),
        (b"hello", "not a line of JSON", True),
        (b"\xff\xfe", "not a line of JSON", True),
        (b"[" * 100_000, "not a line of JSON", True),
        (b"9" * 5000, "not a line of JSON", True),
        (b"[]", "a request is an object", True),
        (b'{"command": ["add"]}', "a request is an object", True),
        (b'{"command": "add", "count": "1"}', "count must be a whole number", True),
        (b'{"command": "add", "count": 1}', "add 1: no", True),
        (b'{"command": "add", "count": 2}', "there is no run", False),
        (b'{"command": "add", "count": 3}', "internal error: ZeroDivisionError('oops')", False),
    ],
)
def test_what_is_wrong_is_said_and_the_connection_goes_on(
    client: Client, line: bytes, said: str, usage: bool
) -> None:
    answer = client.ask(line)
    assert answer["ok"] is False
    assert said in answer["error"]
    assert answer["usage"] is usage
    assert client.ask(b'{"command": "status"}')["ok"] is True


def test_a_command_that_takes_its_time_holds_up_no_other_connection(
    path: Path, client: Client
) -> None:
    client.send(b'{"command": "set", "name": "x", "value": "y"}\n')
    other = Client(path)
    assert other.ask(json.dumps({"command": "status"}).encode())["ok"] is True
    other.close()


def test_a_line_without_end_is_refused_and_the_connection_closed(client: Client) -> None:
    sending = gevent.spawn(client.send, b" " * LINE_MAX)
    assert client.answer()["ok"] is False
    assert client.ended()
    sending.kill()


def test_who_leaves_before_the_answer_harms_nobody(path: Path) -> None:
    rude = Client(path)
    rude.send(b'{"command": "status"}\n' * 100)
    rude.close()
    polite = Client(path)
    assert polite.ask(b'{"command": "status"}') == {
        "ok": True,
        "result": {"heard": type(Status()).__name__},
    }
    polite.close()
