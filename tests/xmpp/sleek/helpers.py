"""Scripts as processes, and a relay that drops selected data."""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import gevent
from gevent import socket, subprocess
from gevent.server import StreamServer

from tests.servers import ROOT, Process
from tests.xmpp_servers import XmppServer

COMMAND = [sys.executable, "-m", "amoc_gevent.xmpp.sleek"]
SCRIPTS = Path(__file__).parent / "scripts"


class Scripts:
    """Starts SleekXMPP scripts from the command line, against one server."""

    def __init__(self, server: XmppServer, directory: Path) -> None:
        self.server = server
        self._directory = directory
        self._started: list[Process] = []
        self._talking: subprocess.Popen[bytes] | None = None

    def start(self, script: str | Path, *arguments: object, number: int | None = None) -> Process:
        """Start a script as user `number` with resource `script`, without waiting for it."""
        who = [] if number is None else ["-j", self.full(number), "-p", f"password_{number}"]
        return self.launch(
            "--server", f"127.0.0.1:{self.server.port}", SCRIPTS / script, *who, *arguments
        )

    def talk(self, script: Path) -> "subprocess.Popen[bytes]":
        """Start a script whose input and output are pipes."""
        self._talking = subprocess.Popen(
            [*COMMAND, "--server", f"127.0.0.1:{self.server.port}", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        return self._talking

    def launch(self, *arguments: object) -> Process:
        """Start `python -m amoc_gevent.xmpp.sleek ARGUMENTS`."""
        process = Process(
            [*COMMAND, *map(str, arguments)],
            self._directory / f"script-{len(self._started)}",
            env={"PYTHONWARNINGS": "error::RuntimeWarning"},  # a coroutine that nobody awaits
        )
        self._started.append(process)
        return process

    def run(self, script: str | Path, *arguments: object, number: int | None = None) -> str:
        """Run a script, assert that it succeeds, and return its output."""
        process = self.start(script, *arguments, number=number)
        assert process.wait() == 0, process.said()
        return process.said()

    def full(self, number: int) -> str:
        return f"{self.server.jid(number)}/script"

    def stop(self) -> None:
        for process in self._started:
            process.stop()
        if self._talking is not None and self._talking.poll() is None:
            self._talking.kill()


class Relay:
    """Relays between clients and a server, but drops client data that contains `kept`.

    `held` counts the dropped pieces. The connection must not use TLS.
    """

    def __init__(self, port: int, kept: bytes) -> None:
        self._target = ("127.0.0.1", port)
        self._kept = kept
        self.held = 0
        self._server = StreamServer(("127.0.0.1", 0), self._relay)

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self._server.server_port)

    def _relay(self, client: socket.socket, _: object) -> None:
        server = socket.create_connection(self._target)
        gevent.spawn(self._copy, server, client, b"nothing is kept of what a server sends")
        self._copy(client, server, self._kept)

    def _copy(self, source: socket.socket, sink: socket.socket, kept: bytes) -> None:
        try:
            while data := source.recv(65536):
                if kept in data:
                    self.held += 1
                else:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
