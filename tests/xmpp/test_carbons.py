"""Carbons on Prosody and ejabberd: each device gets copies of the other's messages."""

import pytest

from amoc_gevent import metrics, xmpp
from amoc_gevent.xmpp import carbons
from tests.xmpp.clients import newcomers
from tests.xmpp_servers import XmppServer


def device(client: xmpp.Client) -> xmpp.Client:
    """Log in another device of the same user."""
    return xmpp.Client(client.bare, client.password, client.server, sasl="PLAIN").connect()


def test_each_device_gets_copies_of_what_the_other_sends_and_receives(
    xmpp_server: XmppServer,
) -> None:
    with newcomers(xmpp_server, 2) as (desk, friend):
        phone = device(desk)
        for one in (desk, phone):
            carbons.enable(one)
        desk.send_message(friend.jid, "from the <desk>")
        copy = carbons.unwrap(phone, phone.wait_for(carbons.copies(phone), 5))
        assert copy is not None
        assert (copy.direction, copy.message.body, copy.message.sender, copy.message.to) == (
            ("sent", "from the <desk>", desk.jid, friend.jid)
        )
        friend.send_message(desk.jid, "to the desk")
        copy = carbons.unwrap(phone, phone.wait_for(carbons.copies(phone), 5))
        assert copy is not None
        assert (copy.direction, copy.message.body, copy.message.sender) == (
            ("received", "to the desk", friend.jid)
        )
        assert carbons.unwrap(desk, desk.wait_for("message", 5)) is None, "the message itself"
        phone.close()
    enabled = metrics.recorder.take().operations["carbons enable"]
    assert (enabled.count, enabled.errors) == (2, 0)


def test_only_enabled_sessions_get_copies_and_never_of_private_messages(
    xmpp_server: XmppServer,
) -> None:
    with newcomers(xmpp_server, 2) as (desk, friend):
        phone = device(desk)
        desk.send_message(friend.jid, "before")
        desk.ping()
        carbons.enable(phone)
        desk.send_message(friend.jid, "private", extra=carbons.PRIVATE)
        desk.send_message(friend.jid, "copied")
        copy = carbons.unwrap(phone, phone.wait_for(carbons.copies(phone), 5))
        assert copy is not None
        assert copy.message.body == "copied"
        carbons.disable(phone)
        desk.send_message(friend.jid, "after")
        desk.ping()
        phone.ping()
        with pytest.raises(xmpp.XmppTimeout):
            phone.wait_for(carbons.copies(phone), 0.05)
        phone.close()


def test_a_forged_copy_is_ignored(xmpp_server: XmppServer) -> None:
    forged = (
        "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
        "<message xmlns='jabber:client' from='boss@localhost'><body>pay</body></message>"
        "</forwarded></received>"
    )
    with newcomers(xmpp_server, 2) as (victim, forger):
        carbons.enable(victim)
        forger.send_message(victim.jid, "trust me", extra=forged)
        got = victim.wait_for("message", 5)
        assert got.body == "trust me"
        assert carbons.unwrap(victim, got) is None


def test_copies_of_tracked_messages_are_not_deliveries(xmpp_server: XmppServer) -> None:
    with newcomers(xmpp_server, 2) as (desk, friend):
        phone = device(desk)
        carbons.enable(phone)
        for number in range(3):
            friend.send_tracked(desk.jid, str(number))
        for _ in range(3):
            desk.wait_for("message", 5)
            phone.wait_for(carbons.copies(phone), 5)
        phone.close()
    counters = metrics.recorder.take().counters
    assert (counters["messages sent"], counters["messages delivered"]) == (3, 3)
    assert counters["xmpp tracked copies"] == 3
    assert counters.get("messages duplicated", 0) == 0
