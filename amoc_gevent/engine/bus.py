"""The sockets between master, node and worker: PUB/SUB for the plan, PUSH/PULL for reports.

Nothing on them matters by itself: plans are published again and again, reports are acknowledged.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import zmq.green as zmq

SEND_BUFFER = 10_000
PREFIX = "amoc_"
PARENT_MAX = 72
"""Bytes of a path: a Unix socket's may have 107 altogether."""


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
    """A directory of mode 0700 for ipc sockets, removed by `close`.

    It is locked while this process lives: those of processes that were killed before they could
    remove theirs go when one is made.
    """

    def __init__(self) -> None:
        parent = _parent()
        remove_abandoned(parent)
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
        self._lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = made.rename(made.with_name(made.name[1:]))  # only now others may look at it

    def endpoint(self, name: str) -> str:
        """Return the ZeroMQ address of the socket `name` in this directory."""
        return f"ipc://{self.path / name}"

    def close(self) -> None:
        """Remove the directory; closing twice does no harm."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _parent() -> Path:
    """Return where sockets belong: a writable directory whose path leaves room for their names."""
    given = (os.environ.get("XDG_RUNTIME_DIR") or "", tempfile.gettempdir())
    for parent in given:
        if parent and len(os.fsencode(parent)) <= PARENT_MAX and os.access(parent, os.W_OK):
            return Path(parent)
    return Path("/tmp")  # noqa: S108  # mkdtemp makes a directory that only its owner can enter


def remove_abandoned(parent: Path) -> None:
    """Remove the socket directories in `parent` whose process has ended without removing them."""
    for left in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another one removes it too, or it is another user's
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
