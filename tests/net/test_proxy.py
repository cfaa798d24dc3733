"""The proxy of the cluster's tests passes all on, and nothing while it stalls."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent import socket
from gevent.server import StreamServer

from tests.servers import Process, listening_socket

PATIENCE = 10.0


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that sends back what it gets until the client's end, then `bye`."""

    def serve(client: socket.socket, _address: object) -> None:
        while data := client.recv(65536):
            client.sendall(data)
        client.sendall(b"bye")

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    yield f"127.0.0.1:{server.server_port}"
    server.stop()


def proxy(directory: Path, target: str, stall: float = 0.5) -> Process:
    command = [sys.executable, "-m", "tests.net.proxy", "--stall", str(stall)]
    return Process([*command, f"127.0.0.1:0={target}"], directory / "output")


def connect(process: Process) -> socket.socket:
    port = int(process.expect(r"^listening on 127\.0\.0\.1:(\d+)$").group(1))
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def receive(sock: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (data := sock.recv(size - len(found))):
        found += data
    return found


def test_all_passes_both_ways_and_each_end_too(tmp_path: Path, echo: str) -> None:
    with proxy(tmp_path, echo) as process, connect(process) as sock:
        sent = bytes(range(256)) * 100
        sock.sendall(sent)
        assert receive(sock, len(sent)) == sent
        sock.shutdown(socket.SHUT_WR)
        assert receive(sock, 100) == b"bye"


def test_nothing_passes_while_it_stalls(tmp_path: Path, echo: str) -> None:
    with proxy(tmp_path, echo) as process, connect(process) as sock:
        sock.sendall(b"before")
        assert receive(sock, 6) == b"before"
        process.popen.send_signal(signal.SIGUSR1)
        process.expect("^stalled$")
        assert "flowing" not in process.said()

        with connect(process) as late:
            for one in (sock, late):
                one.sendall(b"after")
            assert [receive(one, 5) for one in (sock, late)] == [b"after", b"after"]

        assert process.said().endswith("stalled\nflowing\n")


def test_who_cannot_be_passed_on_is_closed(tmp_path: Path) -> None:
    with listening_socket() as gone:
        target = f"127.0.0.1:{gone.getsockname()[1]}"
    with proxy(tmp_path, target) as process:
        with connect(process) as sock:
            assert receive(sock, 1) == b""
        process.popen.terminate()
        assert process.wait() == 0
