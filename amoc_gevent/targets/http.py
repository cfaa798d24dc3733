"""The demo HTTP server: listens, accepts and counts; its pages are in `pages`."""

import _socket
import errno
import logging
import socket
import ssl
from typing import TYPE_CHECKING, Any, Self

from gevent import get_hub

from amoc_gevent.errors import AmocError
from amoc_gevent.targets.connection import READ, Connection, Service
from amoc_gevent.targets.counts import Counts
from amoc_gevent.targets.pages import Pages

if TYPE_CHECKING:
    from gevent._types import _IoWatcher

BACKLOG = 4096
ACCEPTS_AT_ONCE = 256
PAUSE = 0.1
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logging.getLogger(__name__)


class DemoServer:
    """An HTTP/1.1 server on the hub of the thread that starts it, fast enough to be no bottleneck.

    `address` is (host, port), port 0 for any free one; with `context` it speaks TLS.

    >>> with DemoServer() as server:
    ...     print(server.url)
    """

    def __init__(
        self, address: tuple[str, int] = ("127.0.0.1", 0), context: ssl.SSLContext | None = None
    ) -> None:
        self._wanted = address
        self._context = context
        self._counts = Counts()
        self._sock: _socket.socket | None = None
        self._watcher: _IoWatcher | None = None
        self._service: Service | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The (host, port) that it listens on."""
        if self._sock is None:
            raise AmocError("the demo server is not started; call start() first")
        host, port = self._sock.getsockname()[:2]
        return host, port

    @property
    def url(self) -> str:
        """Its base URL."""
        host, port = self.address
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def counts(self) -> dict[str, Any]:
        """Requests received: ``total``, ``paths``, ``methods``; and ``connections`` accepted."""
        return self._counts.as_dict()

    def reset_counts(self) -> None:
        """Count from nought again."""
        self._counts.reset()

    def start(self) -> None:
        """Listen and serve; raises AmocError when the address cannot be had."""
        loop = get_hub().loop
        self._sock = _listen(*self._wanted)
        self._service = Service(loop, Pages(self._counts), self._context)
        self._watcher = loop.io(self._sock.fileno(), READ)
        self._watcher.start(self._accept)

    def stop(self) -> None:
        """Close the listening socket and all connections."""
        if self._sock is None or self._watcher is None or self._service is None:
            return
        self._watcher.stop()
        self._watcher.close()
        self._sock.close()
        for connection in list(self._service.open):
            connection.close()
        self._sock = self._watcher = self._service = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        if self._sock is None or self._service is None:
            return
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                descriptor, client = self._sock._accept()  # type: ignore[attr-defined]  # not in the stubs
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno in EXHAUSTED:
                    self._pause(problem)
                return
            sock = _socket.socket(self._sock.family, self._sock.type, 0, descriptor)
            self._counts.connections += 1
            try:
                Connection(self._service, sock, f"{client[0]}:{client[1]}")
            except OSError:
                sock.close()  # gone before it was served

    def _pause(self, problem: OSError) -> None:
        """Accept nobody for a while: the waiting client would wake us without end."""
        log.warning("no more connections for %s s: %s", PAUSE, problem.strerror)
        if self._watcher is None or self._service is None:
            return
        self._watcher.stop()
        timer = self._service.loop.timer(PAUSE)
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
