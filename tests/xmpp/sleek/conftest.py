"""Fixtures for the tests of xmpp.sleek: logged-in clients, scripts and a clean recorder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amoc_gevent import metrics
from amoc_gevent.core.measure.snapshot import Operation
from amoc_gevent.xmpp import sleek as sleekxmpp
from tests.servers import wait_for
from tests.xmpp.sleek.helpers import Scripts
from tests.xmpp_servers import XmppServer

LogIn = Callable[..., sleekxmpp.ClientXMPP]


@pytest.fixture(autouse=True)
def _recorder() -> Iterator[None]:
    metrics.recorder.reset()
    yield
    metrics.recorder.reset()


@pytest.fixture
def recorded() -> Callable[[], dict[str, Operation]]:
    """Return the operations recorded since the last call."""
    return lambda: metrics.recorder.take().operations


@pytest.fixture
def scripts(xmpp_server: XmppServer, tmp_path: Path) -> Iterator[Scripts]:
    """SleekXMPP's scripts, against each server."""
    found = Scripts(xmpp_server, tmp_path)
    yield found
    found.stop()


@pytest.fixture
def log_in(xmpp_server: XmppServer) -> Iterator[LogIn]:
    """Log in user `number` and send presence, with plugins and options of `connect`."""
    made: list[Any] = []

    def log_in(number: int, *plugins: str, resource: str = "test", **options: Any) -> Any:
        jid = f"{xmpp_server.jid(number)}/{resource}"
        xmpp = sleekxmpp.ClientXMPP(jid, xmpp_server.password(number))
        made.append(xmpp)
        for plugin in plugins:
            xmpp.register_plugin(plugin)
        present: list[object] = []
        xmpp.add_event_handler("session_start", lambda _: xmpp.send_presence())
        xmpp.add_event_handler("presence_available", present.append, disposable=True)
        assert xmpp.connect(("127.0.0.1", xmpp_server.port), **options)
        xmpp.process()
        wait_for(lambda: present, what=f"the presence of {jid}")
        return xmpp

    yield log_in
    for xmpp in made:
        xmpp.disconnect(send_close=False)
        xmpp.sleek_join()
