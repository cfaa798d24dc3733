"""The listening socket of a demo server. It accepts clients on the hub, without a greenlet."""

import _socket
import errno
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent import get_hub

from amoc_gevent.errors import AmocError

if TYPE_CHECKING:
    from gevent._types import _IoWatcher

READ = 1  # EV_READ of libev
BACKLOG = 4096
ACCEPTS_AT_ONCE = 256
PAUSE = 0.1
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logging.getLogger(__name__)


class ServerSocket:
    """Listens on `wanted`, (host, port), and calls `serve(socket, "host:port")` for each client.

    Raises AmocError if the address is not available. If `serve` raises OSError, the client has
    disconnected.
    """

    def __init__(
        self, wanted: tuple[str, int], serve: Callable[[_socket.socket, str], object]
    ) -> None:
        self._serve = serve
        self._loop = get_hub().loop
        self._sock = _listen(*wanted)
        self._watcher: _IoWatcher | None = self._loop.io(self._sock.fileno(), READ)
        self._watcher.start(self._accept)

    @property
    def address(self) -> tuple[str, int]:
        """The (host, port) that it listens on."""
        host, port = self._sock.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Stop listening."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
            self._sock.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if self._watcher is None:
                return
            try:
                descriptor, client = self._sock._accept()  # type: ignore[attr-defined]  # not in the stubs
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno in EXHAUSTED:
                    self._pause(problem)
                return
            sock = _socket.socket(self._sock.family, self._sock.type, 0, descriptor)
            try:
                self._serve(sock, f"{client[0]}:{client[1]}")
            except OSError:
                sock.close()  # the client disconnected early

    def _pause(self, problem: OSError) -> None:
        """Pause accepting. Without it, the waiting client would wake the hub again and again."""
        log.warning("accepting no connections for %s s: %s", PAUSE, problem.strerror)
        if self._watcher is None:
            return
        self._watcher.stop()
        timer = self._loop.timer(PAUSE)
        timer.start(self._resume, timer)

    def _resume(self, timer: Any) -> None:
        timer.close()
        if self._watcher is not None:
            self._watcher.start(self._accept)


def _listen(host: str, port: int) -> _socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = _socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as problem:
        raise AmocError(
            f"cannot listen on {host} port {port}: {problem.strerror}; choose another"
        ) from problem
    return sock
