"""The sender to carbon: what it writes, what it keeps, and what it says of a server that fails."""

from collections.abc import Iterator

import pytest
from gevent import socket, spawn

from amoc_gevent.output.graphite.carbon import Carbon, lines
from amoc_gevent.output.graphite.points import Point
from tests.servers import wait_for

POINT = Point("amoc.users.size", 3, 1000)


class Lines:
    """A server that keeps the lines it reads; it can be slow, and break off."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.socket.getsockname()
        self.read = b""
        self.connections: list[socket.socket] = []
        self.reads = True

    def listen(self) -> None:
        self.socket.listen()
        spawn(self._accept)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:  # closed at the end of the test
                return
            self.connections.append(connection)
            if self.reads:
                spawn(self._read, connection)

    def _read(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                self.read += data


@pytest.fixture
def server() -> Iterator[Lines]:
    found = Lines()
    yield found
    for sock in (*found.connections, found.socket):
        sock.close()


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_line_has_path_value_and_time() -> None:
    points = [POINT, Point("amoc.x", 0.1, 7), Point("amoc.big", 2.0**70, 7)]
    assert lines("team.a", points).decode().splitlines() == [
        "team.a.amoc.users.size 3 1000",
        "team.a.amoc.x 0.1 7",
        f"team.a.amoc.big {2**70} 7",
    ]
    assert lines("", [POINT]) == b"amoc.users.size 3 1000\n"


def test_points_arrive_in_order_and_nothing_is_said(server: Lines, said: list[str]) -> None:
    server.listen()
    carbon = Carbon(server.address, said.append)
    for time in range(5):
        carbon.put("p", [Point("a", time, time)])
    carbon.finish(5)

    assert server.read.decode().splitlines() == [f"p.a {t} {t}" for t in range(5)]
    assert said == []


def test_a_refusal_is_said_once_and_points_arrive_when_it_is_back(
    server: Lines, said: list[str]
) -> None:
    carbon = Carbon(server.address, said.append)
    carbon.put("", [POINT])
    wait_for(lambda: said, what="word of the refusal")
    carbon.put("", [POINT, POINT])
    server.listen()
    wait_for(lambda: len(said) == 2, what="word that it is back")
    carbon.finish(5)

    assert server.read == lines("", [POINT] * 3)
    assert "connection refused" in said[0]
    assert said[1:] == [
        f"Graphite at 127.0.0.1:{server.address[1]} is back: 3 kept points were sent"
    ]


def test_while_it_is_away_the_oldest_are_dropped_in_bounds(server: Lines, said: list[str]) -> None:
    carbon = Carbon(server.address, said.append, buffer_bytes=100)
    for time in range(1000, 1020):
        carbon.put("", [Point("amoc.x", 1, time)])  # 14 bytes each: seven of them stay
    wait_for(lambda: said, what="word of the refusal")
    server.listen()
    wait_for(lambda: len(said) == 2, what="word that it is back")
    carbon.finish(5)

    assert server.read == lines("", [Point("amoc.x", 1, time) for time in range(1013, 1020)])
    assert said[1].endswith("7 kept points were sent, 13 older ones were lost")


def test_what_a_broken_connection_may_have_swallowed_is_sent_again(
    server: Lines, said: list[str]
) -> None:
    server.reads = False
    server.listen()
    carbon = Carbon(server.address, said.append)
    carbon.put("", [POINT])
    wait_for(lambda: server.connections, what="the connection")
    wait_for(lambda: server.connections[0].recv(100, socket.MSG_PEEK), what="its line")

    server.reads = True
    server.connections[0].close()
    carbon.put("", [Point("b", 1, 2)])
    wait_for(lambda: len(said) == 2, what="word that it is back")
    carbon.finish(5)

    assert server.read == lines("", [POINT, Point("b", 1, 2)])


def test_a_server_that_never_reads_costs_no_wait_and_is_said_once(
    server: Lines, said: list[str]
) -> None:
    server.reads = False
    server.listen()
    carbon = Carbon(server.address, said.append, patience=0.2)
    many = [Point("amoc.operations.of_a_long_name.count", n, n) for n in range(200_000)]
    carbon.put("", many)
    wait_for(lambda: said, what="word of its slowness")
    wait_for(lambda: len(server.connections) > 1, what="another attempt")
    carbon.put("", [POINT])
    carbon.finish(0.1)

    assert "does not answer in time" in said[0]
    assert said[1:] == [f"Graphite at 127.0.0.1:{server.address[1]}: 200,001 points were not sent"]


def test_a_server_that_took_the_last_points_but_never_read_them_is_told_of(
    server: Lines, said: list[str]
) -> None:
    server.reads = False
    server.listen()
    carbon = Carbon(server.address, said.append)
    carbon.put("", [POINT])
    carbon.finish(0.3)

    assert said == [
        (
            f"Graphite at 127.0.0.1:{server.address[1]}: "
            "it did not confirm that it read the last points"
        )
    ]


def test_without_points_nothing_is_connected(server: Lines, said: list[str]) -> None:
    server.listen()
    carbon = Carbon(server.address, said.append)
    carbon.put("", [])
    carbon.finish(1)
    assert (server.connections, said) == ([], [])
