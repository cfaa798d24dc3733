"""The control socket: each line is answered, valid or not, even if the handler fails."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import pytest
from gevent import socket
from hypothesis import given, settings
from hypothesis import strategies as st

from amoc_gevent.control.server import LINE_MAX, ControlServer, Service
from amoc_gevent.core.answers import End
from amoc_gevent.core.run.commands import Add, Command, Set, Status
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.socket_paths import short_enough


@dataclass(frozen=True)
class Heard:
    """An answer of these tests."""

    heard: str


@dataclass(frozen=True)
class Number:
    """An answer of the stream `count`."""

    number: int


@dataclass(frozen=True)
class Odd:
    """An answer that JSON cannot encode."""

    odd: object


def handle(command: Command) -> Heard:
    if command == Add(1):
        raise UsageError("add 1: no")
    if command == Add(2):
        raise AmocError("there is no run")
    if command == Add(3):
        raise ZeroDivisionError("oops")
    if isinstance(command, Set):
        gevent.sleep(3600)
    return Heard(type(command).__name__)


def count(request: Mapping[str, Any]) -> Iterator[Number]:
    """Yield `last` answers, or answers until the client leaves if there is no `last`."""
    last = request.get("last")
    number = 0
    while last is None or number < last:
        number += 1
        yield Number(number)
        gevent.sleep(0)
    if last == 3:
        raise AmocError("three is enough")


def services() -> dict[str, Service]:
    return {
        "count": count,
        "echo": lambda request: Heard(request["text"]),
        "odd": lambda _: Odd(object()),
    }


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

    def shut(self) -> None:
        """Shut down the sending side; pending requests are still answered."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "control"
    server = ControlServer(found, handle, services())
    yield found
    server.close()
    assert not found.exists()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server shared by all examples of a property."""
    found = tmp_path_factory.mktemp("fuzzed") / "control"
    with closing(ControlServer(found, handle, services())):
        yield found


@pytest.fixture
def client(path: Path) -> Iterator[Client]:
    found = Client(path)
    yield found
    found.close()


def test_only_its_owner_may_use_it(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_each_answer_carries_the_warning_of_the_daemon(tmp_path: Path) -> None:
    found, wrong = tmp_path / "control", ["no disk"]

    def refuse(command: Command) -> Heard:
        raise AmocError("no disk; no run was started" if isinstance(command, Add) else "not now")

    three: dict[str, Any] = {"three": lambda _: iter([End(), End()]), "one": lambda _: End()}
    with closing(ControlServer(found, refuse, three, lambda: wrong[0])):
        client = Client(found)
        for request in ("status", "one", "three"):
            client.send(f'{{"command": "{request}"}}\nrubbish\n'.encode())
            answers = [client.answer() for _ in range(4 if request == "three" else 2)]
            assert {answer["warning"] for answer in answers} == {"no disk"}
        client.send(b'{"command": "add", "count": 1}\n')
        assert "warning" not in client.answer()  # the error contains it
        wrong[0] = ""
        client.send(b'{"command": "status"}\n')
        assert "warning" not in client.answer()
        client.close()


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
def test_errors_are_answered_and_the_connection_goes_on(
    client: Client, line: bytes, said: str, usage: bool
) -> None:
    answer = client.ask(line)
    assert answer["ok"] is False
    assert said in answer["error"]
    assert answer["usage"] is usage
    assert client.ask(b'{"command": "status"}')["ok"] is True


def test_a_slow_command_does_not_delay_other_connections(path: Path, client: Client) -> None:
    client.send(b'{"command": "set", "name": "x", "value": "y"}\n')
    other = Client(path)
    assert other.ask(json.dumps({"command": "status"}).encode())["ok"] is True
    other.close()


def test_a_service_receives_the_whole_request(client: Client) -> None:
    answer = client.ask(b'{"command": "echo", "text": "abc"}')
    assert answer == {"ok": True, "result": {"heard": "abc"}}


def test_the_error_lists_the_services(client: Client) -> None:
    assert client.ask(b'{"command": "jump"}')["error"].endswith("summary, count, echo, odd")


def test_each_answer_of_a_stream_but_the_last_says_more(client: Client) -> None:
    client.send(b'{"command": "count", "last": 2}\n{"command": "status"}\n')
    assert [client.answer() for _ in range(4)] == [
        {"ok": True, "more": True, "result": {"number": 1}},
        {"ok": True, "more": True, "result": {"number": 2}},
        {"ok": True, "result": {}},
        {"ok": True, "result": {"heard": "Status"}},
    ]


def test_a_stream_that_fails_ends_with_its_error(client: Client) -> None:
    client.send(b'{"command": "count", "last": 3}\n')
    for _ in range(3):
        assert client.answer()["more"] is True
    assert client.answer() == {"ok": False, "error": "three is enough", "usage": False}
    assert client.ask(b'{"command": "status"}')["ok"] is True


def test_a_stream_ends_when_its_reader_leaves(path: Path, client: Client) -> None:
    ended = gevent.event.Event()

    def endless(_request: Mapping[str, Any]) -> Iterator[End]:
        try:
            while True:
                yield End()
                gevent.sleep(0.001)
        finally:
            ended.set()

    with closing(ControlServer(path.with_name("other"), handle, {"endless": endless})):
        reader = Client(path.with_name("other"))
        reader.send(b'{"command": "endless"}\n')
        assert reader.answer()["more"] is True
        reader.close()
        assert ended.wait(10)


def test_an_answer_that_json_cannot_encode_is_an_internal_error(client: Client) -> None:
    answer = client.ask(b'{"command": "odd"}')
    assert answer["ok"] is False
    assert "internal error: TypeError" in answer["error"]


def test_many_clients_are_answered_at_once(path: Path) -> None:
    clients = [Client(path) for _ in range(200)]
    streams, askers = clients[:50], clients[50:]
    for one in streams:
        one.send(b'{"command": "count"}\n')
    for one in askers:
        assert one.ask(b'{"command": "status"}')["ok"] is True
    for one in clients:
        one.close()


def test_a_path_too_long_for_a_socket_address_works(
    tmp_path: Path,
) -> None:
    path = tmp_path / ("d" * 120) / "control"
    path.parent.mkdir()
    with closing(ControlServer(path, handle)):
        with short_enough(path) as name:
            client = Client(Path(name))
        assert client.ask(b'{"command": "status"}')["ok"] is True
        client.close()
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


@pytest.mark.parametrize("name", ["none/control", "n" * 120 + "/control", "c" * 300])
def test_an_impossible_path_is_a_one_line_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(AmocError, match=r"^no control socket at .*/c+(ontrol)?: [^\n]+$"):
        ControlServer(tmp_path / name, handle)


words = st.sampled_from([b'{"command": "', b'status"}', b'echo", "text": 1}', b"\n", b"{", b"\x00"])
anything = st.lists(words | st.binary(max_size=20), max_size=12).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(anything)
def test_any_bytes_are_answered_line_by_line_and_the_server_goes_on(
    fuzzed: Path, data: bytes
) -> None:
    client = Client(fuzzed)
    client.send(data)
    client.shut()
    lines = data.split(b"\n")
    for _ in range(len(lines) - (lines[-1] == b"")):
        assert client.answer()["ok"] in {True, False}
    assert client.ended()
    client.close()
    other = Client(fuzzed)
    assert other.ask(b'{"command": "status"}')["ok"] is True
    other.close()


def test_an_endless_line_is_refused_and_the_connection_closed(client: Client) -> None:
    sending = gevent.spawn(client.send, b" " * LINE_MAX)
    assert client.answer()["ok"] is False
    assert client.ended()
    sending.kill()


def test_a_client_that_leaves_early_does_not_affect_others(path: Path) -> None:
    rude = Client(path)
    rude.send(b'{"command": "status"}\n' * 100)
    rude.close()
    polite = Client(path)
    assert polite.ask(b'{"command": "status"}') == {
        "ok": True,
        "result": {"heard": type(Status()).__name__},
    }
    polite.close()


def test_a_server_that_was_replaced_does_not_remove_the_new_socket(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    first = ControlServer(path, handle)
    path.rename(tmp_path / "old.sock")
    second = ControlServer(path, handle)
    first.close()
    assert path.is_socket()
    second.close()
    assert not path.exists()
