"""In-band registration on Prosody and ejabberd, verified by logging in."""

import pytest

from amoc_gevent import metrics, xmpp
from amoc_gevent.xmpp import registration
from tests.xmpp.clients import fresh, where
from tests.xmpp_servers import XmppServer


def gets_in(server: XmppServer, jid: str, password: str) -> bool:
    """Return whether the server accepts a login."""
    client = xmpp.Client(jid, password, where(server), sasl="PLAIN")
    try:
        client.connect()
    except xmpp.AuthenticationError as error:
        assert error.condition == "not-authorized"  # noqa: PT017
        return False
    client.close()
    return True


@pytest.fixture
def jid(xmpp_server: XmppServer) -> str:
    """Return a JID that the server does not know yet."""
    return f"{fresh('newcomer')}@{xmpp_server.domain}"


@pytest.mark.parametrize("tls", ["none", "starttls", "direct"])
def test_an_account_is_registered_used_given_a_new_password_and_removed(
    xmpp_server: XmppServer, jid: str, tls: str
) -> None:
    there = where(xmpp_server, tls)
    assert not gets_in(xmpp_server, jid, "first & <last>")
    registration.register(jid, "first & <last>", there)
    with xmpp.Client(jid, "first & <last>", there) as client:
        registration.change_password(client, "second")
        client.ping()
    assert not gets_in(xmpp_server, jid, "first & <last>")
    assert gets_in(xmpp_server, jid, "second")
    client = xmpp.Client(jid, "second", there).connect()
    registration.unregister(client)
    assert not client.connected
    assert not gets_in(xmpp_server, jid, "second")

    operations = metrics.recorder.take().operations
    assert {
        name: (o.count, o.errors) for name, o in operations.items() if name.startswith("register")
    } == {
        "register form": (1, 0),
        "register account": (1, 0),
        "register password": (1, 0),
        "register remove": (1, 0),
    }


def test_a_taken_name_is_a_conflict(xmpp_server: XmppServer) -> None:
    with pytest.raises(xmpp.XmppError) as raised:
        registration.register(xmpp_server.jid(1), "mine now", where(xmpp_server))
    assert raised.value.condition == "conflict"
    assert gets_in(xmpp_server, xmpp_server.jid(1), xmpp_server.password(1))
    account = metrics.recorder.take().operations["register account"]
    assert (account.count, account.errors) == (1, 1)


def test_an_account_without_a_password_is_refused(xmpp_server: XmppServer, jid: str) -> None:
    with pytest.raises(xmpp.XmppError) as raised:
        registration.register(jid, "", where(xmpp_server))
    assert raised.value.condition in {"not-acceptable", "not-allowed", "bad-request"}


def test_a_domain_without_registration_refuses(xmpp_server: XmppServer) -> None:
    with pytest.raises(xmpp.XmppError) as raised:
        registration.register(f"newcomer@{xmpp_server.anonymous}", "secret", where(xmpp_server))
    assert raised.value.condition in {"service-unavailable", "not-allowed", "forbidden"}
    assert not isinstance(raised.value, xmpp.XmppTimeout)


def test_a_client_that_only_opened_a_stream_can_close_it_and_log_in(
    xmpp_server: XmppServer,
) -> None:
    client = xmpp.Client(xmpp_server.jid(1), xmpp_server.password(1), where(xmpp_server))
    assert client.open_stream().connected
    client.close()
    assert client.connect().jid.startswith(f"{xmpp_server.jid(1)}/")
    client.close()
