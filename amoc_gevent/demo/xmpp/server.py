"""The demo XMPP server: it listens, owns its sessions, and serves its counts over HTTP."""

import _socket
import ssl
from typing import Any, Self

from amoc_gevent.demo.http import DemoServer
from amoc_gevent.demo.listener import ServerSocket
from amoc_gevent.demo.xmpp.accounts import AccountRegistry
from amoc_gevent.demo.xmpp.faults import Faults
from amoc_gevent.demo.xmpp.pages import XmppPages
from amoc_gevent.demo.xmpp.reader import STANZA_MAX
from amoc_gevent.demo.xmpp.router import Router
from amoc_gevent.demo.xmpp.session import ClientSession
from amoc_gevent.errors import AmocError


class XmppServer:
    """An XMPP server for one `domain` on the hub of the thread that starts it.

    `address` is (host, port); port 0 picks a free port. `context` adds STARTTLS and direct TLS on
    the same port. `stanza_max` is the largest size of a stanza (bytes). The server supports PLAIN
    and SCRAM, resource binding, rosters, presence, messages, pings, disco and registration. It does
    not store messages for offline users. `page_url`, a second port on the same host, serves its
    counts over HTTP.

    >>> with XmppServer() as server:
    ...     print(server.address)
    """

    def __init__(
        self,
        address: tuple[str, int] = ("127.0.0.1", 0),
        domain: str = "localhost",
        accounts: AccountRegistry | None = None,
        context: ssl.SSLContext | None = None,
        stanza_max: int = STANZA_MAX,
        page_port: int = 0,
    ) -> None:
        self._wanted = address
        self._context = context
        self._stanza_max = stanza_max
        self._router = Router(domain, AccountRegistry() if accounts is None else accounts)
        self._pages = DemoServer((address[0], page_port), pages=XmppPages(self._router))
        self._listener: ServerSocket | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The (host, port) that it listens on."""
        if self._listener is None:
            raise AmocError("the demo XMPP server is not started; call start() first")
        return self._listener.address

    @property
    def page_url(self) -> str:
        """The base URL of its counts and faults."""
        return self._pages.url

    @property
    def counts(self) -> dict[str, Any]:
        """The total counts."""
        return self._router.counts.as_dict()

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """Messages by sender and recipient."""
        return self._router.counts.by_pair()

    @property
    def faults(self) -> Faults:
        """The current faults. Assign to change them."""
        return self._router.delivery.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._router.delivery.change(faults)

    def start(self) -> None:
        """Listen and serve. Raises AmocError if an address is not available."""
        self._listener = ServerSocket(self._wanted, self._serve)
        try:
            self._pages.start()
        except AmocError:
            self.stop()
            raise

    def stop(self) -> None:
        """Close the listening sockets and all connections."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        self._pages.stop()
        self._router.delivery.close()
        for session in list(self._router.sessions):
            session.drop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, sock: _socket.socket, _client: str) -> None:
        ClientSession(self._router, sock, self._context, self._stanza_max)
