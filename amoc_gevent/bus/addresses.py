"""The addresses of sockets, and a watch that reopens sockets whose files were removed."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import zmq.green as zmq

from amoc_gevent import clock
from amoc_gevent.bus.directory import IPC, open_private, zmq_address
from amoc_gevent.errors import AmocError

log = logging.getLogger(__name__)

CHECK_S = 1.0
"""Interval at which a watch checks that each path still leads to its socket."""


class Address:
    """An address to which `socket` is bound or, if not `bound`, connected.

    Raises AmocError if that fails, and then closes the socket. Otherwise its owner closes it.
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
            self.endpoint = str(socket.last_endpoint.decode().rstrip("\0"))  # with the actual port

    def _open(self) -> None:
        """Bind or connect. Binding replaces an existing ipc socket file."""
        self._zmq_address = zmq_address(self.endpoint)
        try:
            (self._socket.bind if self._bound else self._socket.connect)(self._zmq_address)
        except zmq.ZMQError as error:
            what = "listen at" if self._bound else "connect to"
            raise AmocError(f"cannot {what} {self.endpoint}: {error.strerror.lower()}") from error
        self._file = self._found()

    def _found(self) -> tuple[int, int] | None:
        """Return device and inode of the socket's file, or of its directory if only connected.

        Return None if it does not exist. Inode numbers are not reused while the socket is bound or
        the directory is open.
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
        """The socket's directory if the path no longer leads to the socket, else None."""
        return self._path.parent if self._path is not None and self._found() != self._file else None

    def reopen(self) -> None:
        """Bind or connect at the path again; create its directory if needed. Raises AmocError."""
        assert self._path is not None  # noqa: S101  # only a path can be lost
        with suppress(FileExistsError, FileNotFoundError):
            self._path.parent.mkdir(mode=0o700)
        os.close(
            open_private(self._path.parent)
        )  # if that raises, the old socket is better than none
        self.rebind()

    def rebind(self) -> None:
        """Release the address, then bind or connect again. Raises AmocError."""
        with suppress(zmq.ZMQError):
            (self._socket.unbind if self._bound else self._socket.disconnect)(self._zmq_address)
        self._open()

    def remove(self) -> None:
        """Remove the file of a bound socket, unless another file has replaced it."""
        if self._path is not None and self._bound and self._found() == self._file:
            self._path.unlink(missing_ok=True)


class AddressedSocket:
    """A socket with its addresses."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.addresses: list[Address] = []

    def _bind(self, endpoint: str) -> str:
        """Listen at `endpoint`; return it with the actual port. Raises AmocError."""
        self.addresses.append(Address(self._socket, endpoint, bound=True))
        return self.addresses[-1].endpoint

    def _connect(self, endpoint: str) -> None:
        """Connect to `endpoint`, now or as soon as a process listens there. Raises AmocError."""
        self.addresses.append(Address(self._socket, endpoint, bound=False))

    def reconnect(self) -> None:
        """Connect again, because ZeroMQ gives up for good if only one of the ends has keys."""
        for address in self.addresses:
            address.rebind()

    def close(self) -> None:
        """Close the socket, and remove its file."""
        for address in self.addresses:
            address.remove()
        self._socket.close()


class SocketWatch:
    """Reopens ipc sockets whose file or directory was removed, as long as `owns_home()` is true."""

    def __init__(
        self, *sockets: AddressedSocket, owns_home: Callable[[], bool] = lambda: True
    ) -> None:
        self._owns_home = owns_home
        self._addresses = [address for socket in sockets for address in socket.addresses]
        self._checked = clock.monotonic()
        self._last_error = ""

    def check(self) -> None:
        """Check the paths, at most once a second, and log what was reopened or failed."""
        now = clock.monotonic()
        if now - self._checked < CHECK_S:
            return
        self._checked = now
        error_text = ""
        found = set()
        for address in self._addresses:
            directory = address.lost
            if directory is None or not directory.parent.exists():  # it cannot be created there
                continue
            if not self._owns_home():
                return
            try:
                address.reopen()
            except AmocError as error:
                error_text = str(error)
            else:
                found.add(str(directory))
        for name in sorted(found):
            log.warning("sockets in %s were removed or replaced and have been reopened", name)
        if error_text and error_text != self._last_error:
            log.error("%s", error_text)
        self._last_error = error_text
