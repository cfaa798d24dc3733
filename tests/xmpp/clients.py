"""Clients of the real servers, as tests want them: verified, logged in, closed at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from amoc_gevent import xmpp
from tests.xmpp_servers import XmppServer

_numbers = count(1)


def where(server: XmppServer, tls: str = "none", **options) -> xmpp.Server:
    """How to connect to `server`, whose certificate is verified."""
    port = server.tls_port if tls == "direct" else server.port
    return xmpp.Server(
        "127.0.0.1", port, tls=tls, **{"verify": str(server.ca), "timeout": 10.0, **options}
    )


def client(server: XmppServer, number: int, resource: str = "", **options) -> xmpp.Client:
    """A client of one of the server's accounts; it is not connected yet."""
    jid = server.jid(number) + (f"/{resource}" if resource else "")
    return xmpp.Client(jid, server.password(number), where(server), sasl="PLAIN", **options)


@contextmanager
def online(server: XmppServer, *numbers: int) -> Iterator[list[xmpp.Client]]:
    """Clients of these accounts, logged in while the block runs."""
    clients = [client(server, number) for number in numbers]
    try:
        yield [one.connect() for one in clients]
    finally:
        for one in clients:
            one.close()


def fresh(word: str) -> str:
    """A name that no test has used at a server yet."""
    return f"{word}-{next(_numbers)}"
