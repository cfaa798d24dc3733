"""The sockets between master, node and worker: PUB/SUB for the plan, PUSH/PULL for reports.

Nothing on them matters by itself: plans are published again and again, reports are acknowledged.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import zmq.green as zmq

SEND_BUFFER = 10_000
PREFIX = "amoc-"


def _socket(kind: int) -> Any:
    return zmq.Context.instance().socket(kind)


class Publisher:
    """Publishes plans to whoever listens at `endpoint`."""

    def __init__(self, endpoint: str) -> None:
        self._socket = _socket(zmq.PUB)
        self._socket.linger = 0
        self._socket.bind(endpoint)

    def publish(self, data: bytes) -> None:
        """Send `data` to all subscribers of this moment."""
        self._socket.send(data)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Subscriber:
    """Receives the plans published at `endpoint`; one that was overtaken by a newer is skipped."""

    def __init__(self, endpoint: str) -> None:
        self._socket = _socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.conflate = True
        self._socket.subscribe(b"")
        self._socket.connect(endpoint)

    def receive(self) -> bytes:
        """Wait for the next plan."""
        return bytes(self._socket.recv())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Pusher:
    """Sends reports to `endpoint`; those not sent yet when it closes get `linger` seconds."""

    def __init__(self, endpoint: str, linger: float = 2.0) -> None:
        self._socket = _socket(zmq.PUSH)
        self._socket.linger = int(linger * 1000)
        self._socket.sndhwm = SEND_BUFFER
        self._socket.connect(endpoint)

    def push(self, data: bytes) -> bool:
        """Queue `data`; False when the queue is full."""
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Puller:
    """Receives the reports sent to `endpoint`."""

    def __init__(self, endpoint: str) -> None:
        self._socket = _socket(zmq.PULL)
        self._socket.linger = 0
        self._socket.rcvhwm = SEND_BUFFER
        self._socket.bind(endpoint)

    def pull(self) -> bytes:
        """Wait for the next report."""
        return bytes(self._socket.recv())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def finish() -> None:
    """Wait until what was pushed is sent, within each socket's linger, before the process ends."""
    zmq.Context.instance().term()


class SocketDirectory:
    """A directory of mode 0700 for ipc sockets, named after this process and removed by `close`.

    Directories of processes that were killed before they could remove theirs go when it is made.
    """

    def __init__(self) -> None:
        parent = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        if not os.access(parent, os.W_OK):
            parent = Path(tempfile.gettempdir())
        _remove_abandoned(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))

    def endpoint(self, name: str) -> str:
        """Return the ZeroMQ address of the socket `name` in this directory."""
        return f"ipc://{self.path / name}"

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for left in parent.glob(f"{PREFIX}[0-9]*-*"):
        owner = left.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and os.access(left, os.W_OK):
            shutil.rmtree(left, ignore_errors=True)
