"""Clients of the real servers for tests: TLS verified, logged in, closed at the end."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from amoc_gevent import metrics, xmpp
from amoc_gevent.xmpp import registration
from tests.xmpp_servers import XmppServer

_numbers = count(1)


def where(server: XmppServer, tls: str = "none", **options) -> xmpp.Server:
    """Return how to connect to `server`, with its certificate verified."""
    port = server.tls_port if tls == "direct" else server.port
    return xmpp.Server(
        "127.0.0.1", port, tls=tls, **{"verify": str(server.ca), "timeout": 10.0, **options}
    )


def client(server: XmppServer, number: int, resource: str = "", **options) -> xmpp.Client:
    """Return an unconnected client for one of the server's accounts."""
    jid = server.jid(number) + (f"/{resource}" if resource else "")
    return xmpp.Client(jid, server.password(number), where(server), sasl="PLAIN", **options)


@contextmanager
def online(server: XmppServer, *numbers: int) -> Iterator[list[xmpp.Client]]:
    """Yield clients of these accounts, logged in while the block runs."""
    clients = [client(server, number) for number in numbers]
    try:
        yield [one.connect() for one in clients]
    finally:
        for one in clients:
            one.close()


def fresh(word: str) -> str:
    """Return a name that no test has used on a server, not even in an earlier run."""
    return f"{word}-{next(_numbers)}-{secrets.token_hex(2)}"


class Newcomer(xmpp.Client):
    """A client with its own account, and the password of that account."""

    password = ""


@contextmanager
def newcomers(server: XmppServer, count: int, **options) -> Iterator[list[Newcomer]]:
    """Yield logged-in clients of new accounts, with metrics reset; then remove the accounts."""
    clients = []
    for _ in range(count):
        jid, password = f"{fresh('newcomer')}@{server.domain}", secrets.token_hex(8)
        registration.register(jid, password, where(server))
        clients.append(Newcomer(jid, password, where(server), sasl="PLAIN", **options))
        clients[-1].password = password
    try:
        for one in clients:
            one.connect()
        metrics.recorder.reset()
        yield clients
    finally:
        for one in clients:
            if not one.connected:
                one.connect()
            registration.unregister(one)


def registered(server: XmppServer, count: int) -> str:
    """Register accounts 1 to `count` under a new name; return its template.

    The passwords are the default of scenarios.
    """
    template = f"{fresh('made')}-{{id}}"
    for number in range(1, count + 1):
        jid = f"{template.format(id=number)}@{server.domain}"
        registration.register(jid, f"password_{number}", where(server))
    return template
