"""The addresses of sockets, and the watch that opens those again whose files were removed."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import zmq.green as zmq

from amoc_gevent import clock
from amoc_gevent.bus.directory import IPC, open_private, reached
from amoc_gevent.errors import AmocError

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often a watch looks whether the paths of sockets still lead to them."""


class Address:
    """An address that `socket` is bound to, or else connected to, which its owner then closes.

    Raises AmocError where that cannot be, and has closed the socket.
    """

    def __init__(self, socket: Any, endpoint: str, *, bound: bool) -> None:
        self._socket = socket
        self._path = Path(endpoint.removeprefix(IPC)) if endpoint.startswith(IPC) else None
        self.endpoint = endpoint
        self._bound = bound
        if bound:
            socket.ipv6 = "[" in endpoint
        try:
            self._open()
        except AmocError:
            socket.close()
            raise
        if bound and self._path is None:
            self.endpoint = str(socket.last_endpoint.decode().rstrip("\0"))  # with its port

    def _open(self) -> None:
        """Bind or connect. An ipc socket's file is replaced by whoever binds to it next."""
        self._reached = reached(self.endpoint)
        try:
            (self._socket.bind if self._bound else self._socket.connect)(self._reached)
        except zmq.ZMQError as error:
            what = "listen at" if self._bound else "connect to"
            raise AmocError(f"cannot {what} {self.endpoint}: {error.strerror.lower()}") from error
        self._file = self._found()

    def _found(self) -> tuple[int, int] | None:
        """Return which file the path names now: the socket's own, or the directory to connect in.

        None is no file. While a socket is bound, or a directory held, its number is not used again.
        """
        if self._path is None:
            return None
        try:
            found = (self._path if self._bound else self._path.parent).lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @property
    def lost(self) -> Path | None:
        """The directory in which others look for the socket and do not find it; else None."""
        return self._path.parent if self._path is not None and self._found() != self._file else None

    def open_again(self) -> None:
        """Bind or connect where the path leads now; make its directory. Raises AmocError."""
        assert self._path is not None  # noqa: S101  # only a path can be lost
        with suppress(FileExistsError, FileNotFoundError):
            self._path.parent.mkdir(mode=0o700)
        os.close(open_private(self._path.parent))  # else what there is now is better than nothing
        self.renew()

    def renew(self) -> None:
        """Bind or connect anew. Raises AmocError."""
        with suppress(zmq.ZMQError):
            (self._socket.unbind if self._bound else self._socket.disconnect)(self._reached)
        self._open()

    def remove(self) -> None:
        """Remove the file of a bound socket, unless another one is in its place."""
        if self._path is not None and self._bound and self._found() == self._file:
            self._path.unlink(missing_ok=True)


class Addressed:
    """A socket with its addresses."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.addresses: list[Address] = []

    def _bind(self, endpoint: str) -> str:
        """Listen at `endpoint`; return it, with the port that it got. Raises AmocError."""
        self.addresses.append(Address(self._socket, endpoint, bound=True))
        return self.addresses[-1].endpoint

    def _connect(self, endpoint: str) -> None:
        """Connect to `endpoint`, now or as soon as somebody listens there. Raises AmocError."""
        self.addresses.append(Address(self._socket, endpoint, bound=False))

    def connect_again(self) -> None:
        """Connect anew: ZeroMQ gives up for good where the other end has no keys, or wants some."""
        for address in self.addresses:
            address.renew()

    def close(self) -> None:
        """Close the socket, and remove its file."""
        for address in self.addresses:
            address.remove()
        self._socket.close()


class SocketWatch:
    """Opens ipc sockets again whose file or directory was removed, while that is `ours` to do."""

    def __init__(self, *sockets: Addressed, ours: Callable[[], bool] = lambda: True) -> None:
        self._ours = ours
        self._addresses = [address for socket in sockets for address in socket.addresses]
        self._looked = clock.monotonic()
        self._trouble = ""

    def look(self) -> None:
        """Look, once a second at most; the log says what was found."""
        now = clock.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        trouble = ""
        found = set()
        for address in self._addresses:
            directory = address.lost
            if directory is None or not directory.parent.exists():  # nothing can be made there
                continue
            if not self._ours():
                return
            try:
                address.open_again()
            except AmocError as error:
                trouble = str(error)
            else:
                found.add(str(directory))
        for name in sorted(found):
            log.warning("sockets in %s were removed or replaced, and are open again", name)
        if trouble and trouble != self._trouble:
            log.error("%s", trouble)
        self._trouble = trouble
