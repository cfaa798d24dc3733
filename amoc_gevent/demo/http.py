"""The demo HTTP server. `pages` has its pages."""

import _socket
import ssl
from typing import Any, Self

from gevent import get_hub

from amoc_gevent.addresses import host_and_port
from amoc_gevent.demo.connection import RequestHandler, ServedConnection, Service
from amoc_gevent.demo.counts import Counts
from amoc_gevent.demo.listener import ServerSocket
from amoc_gevent.demo.pages import Pages
from amoc_gevent.errors import AmocError


class DemoServer:
    """An HTTP/1.1 server on the hub of the thread that starts it, fast enough to be no bottleneck.

    `address` is (host, port); port 0 picks a free port. `context` enables TLS. `pages` answers the
    requests, by default with the demo pages.

    >>> with DemoServer() as server:
    ...     print(server.url)
    """

    def __init__(
        self,
        address: tuple[str, int] = ("127.0.0.1", 0),
        context: ssl.SSLContext | None = None,
        pages: RequestHandler | None = None,
    ) -> None:
        self._wanted = address
        self._context = context
        self._pages = Pages(Counts()) if pages is None else pages
        self._listener: ServerSocket | None = None
        self._service: Service | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The (host, port) that it listens on."""
        if self._listener is None:
            raise AmocError("the demo server is not started; call start() first")
        return self._listener.address

    @property
    def url(self) -> str:
        """Its base URL."""
        host, port = self.address
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://{host_and_port(host, port)}"

    @property
    def counts(self) -> dict[str, Any]:
        """Requests received (``total``, ``paths``, ``methods``) and ``connections`` accepted."""
        return self._pages.counts.as_dict()

    def reset_counts(self) -> None:
        """Reset all counts to 0."""
        self._pages.counts.reset()

    def start(self) -> None:
        """Listen and serve. Raises AmocError if the address is not available."""
        self._listener = ServerSocket(self._wanted, self._serve)
        self._service = Service(get_hub().loop, self._pages, self._context)

    def stop(self) -> None:
        """Close the listening socket and all connections."""
        if self._listener is None or self._service is None:
            return
        self._listener.close()
        for connection in list(self._service.open):
            connection.close()
        self._listener = self._service = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, sock: _socket.socket, client: str) -> None:
        if self._service is not None:
            self._pages.counts.connections += 1
            ServedConnection(self._service, sock, client)
