"""Login to Prosody and ejabberd with each kind of connection and each mechanism."""

import gevent
import pytest
from gevent import socket

from amoc_gevent import metrics, xmpp
from tests.servers import listening_socket
from tests.xmpp_servers import XmppServer


@pytest.fixture(autouse=True)
def _fresh():
    metrics.recorder.reset()
    yield
    metrics.recorder.reset()


def where(server: XmppServer, tls: str = "starttls", **options) -> xmpp.Server:
    """Return how to connect to `server`, with its certificate verified."""
    port = server.tls_port if tls == "direct" else server.port
    return xmpp.Server("127.0.0.1", port, tls=tls, **{"verify": str(server.ca), **options})


@pytest.mark.parametrize("tls", ["none", "starttls", "direct"])
def test_two_users_talk(xmpp_server: XmppServer, tls: str) -> None:
    there = where(xmpp_server, tls)
    one, two = (
        xmpp.Client(xmpp_server.jid(number), xmpp_server.password(number), there)
        for number in xmpp_server.take(2)
    )
    with one, two:
        one.send_message(two.jid, 'what\'s <up> & "so"?')
        message = two.wait_for("message", 5)
        assert (message.body, message.sender, message.type) == (
            'what\'s <up> & "so"?',
            one.jid,
            "chat",
        )


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "DIGEST-MD5"])
def test_each_offered_mechanism_logs_in(xmpp_server: XmppServer, mechanism: str) -> None:
    client = xmpp.Client(
        xmpp_server.jid(1), xmpp_server.password(1), where(xmpp_server), sasl=mechanism
    )
    if mechanism == "DIGEST-MD5" and xmpp_server.name == "prosody":  # it no longer has it
        with pytest.raises(xmpp.AuthenticationError) as raised:
            client.connect()
        assert raised.value.condition == "no-mechanism"
    else:
        with client:
            client.ping()
    assert not client.connected


def test_a_client_is_not_connected_before_it_is_logged_in() -> None:
    with listening_socket() as listener:
        port = listener.getsockname()[1]
        client = xmpp.Client("user_1@localhost", "password_1", xmpp.Server("127.0.0.1", port))
        connecting = gevent.spawn(client.connect)
        server = socket.socket(fileno=listener.detach()).accept()[0]
        assert server.recv(1024).startswith(b"<?xml")  # the client waits for the stream header
        assert not client.connected
        client.kill()
        with pytest.raises(xmpp.Disconnected, match="closed here"):
            connecting.get(timeout=5)
        server.close()
