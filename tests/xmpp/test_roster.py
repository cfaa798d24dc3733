"""Rosters on Prosody and ejabberd: fetched, changed and updated by pushes."""

import gevent
import pytest

from amoc_gevent import metrics, xmpp
from amoc_gevent.xmpp import roster
from amoc_gevent.xmpp.roster import Contact
from tests.servers import wait_for
from tests.xmpp.clients import newcomers
from tests.xmpp_servers import XmppServer


def test_each_device_sees_a_contact_added_changed_and_removed(
    xmpp_server: XmppServer,
) -> None:
    with newcomers(xmpp_server, 1) as (desk,):
        phone = xmpp.Client(desk.bare, desk.password, desk.server, sasl="PLAIN").connect()
        here, there = roster.fetch(desk), roster.fetch(phone)
        assert (dict(here), dict(there)) == ({}, {})

        roster.put(desk, "juliet@localhost/balcony", name="<Juliet>", groups=["a & b", "c"])
        juliet = Contact("juliet@localhost", "<Juliet>", "none", frozenset({"a & b", "c"}))
        for one in (here, there):
            one.wait(lambda known: known["juliet@localhost"] == juliet, 5)
        roster.put(desk, "juliet@localhost", name="Jule")
        for one in (here, there):
            one.wait(lambda known: known["juliet@localhost"] == Contact("juliet@localhost", "Jule"))
        assert dict(roster.fetch(phone)) == dict(there)

        roster.remove(phone, "juliet@localhost")
        for one in (here, there):
            one.wait(lambda known: not known, 5)
        phone.close()

    operations = metrics.recorder.take().operations
    assert {
        name: (o.count, o.errors) for name, o in operations.items() if name.startswith("roster")
    } == {"roster get": (3, 0), "roster set": (2, 0), "roster remove": (1, 0)}


def test_a_subscription_is_requested_approved_and_ended(xmpp_server: XmppServer) -> None:
    with newcomers(xmpp_server, 2) as (one, two):
        here, there = roster.fetch(one), roster.fetch(two)
        roster.subscribe(one, two.jid)
        here.wait(lambda known: known[two.bare].pending, 5)
        asked = two.wait_for(roster.asks, 5)
        assert asked.sender == one.bare
        roster.approve(two, asked.sender)
        here.wait(lambda known: known[two.bare].subscription == "to", 5)
        there.wait(lambda known: known[one.bare].subscription == "from", 5)
        assert not here[two.bare].pending

        two.send_presence(show="away")
        gone = one.wait_for(lambda s: s.name == "presence" and s.findtext("{*}show") == "away", 5)
        assert gone.sender == two.jid

        roster.unsubscribe(one, two.bare)
        here.wait(lambda known: known[two.bare].subscription == "none", 5)
        there.wait(lambda known: one.bare not in known or known[one.bare].subscription == "none", 5)


def test_a_refused_request_leaves_no_subscription(xmpp_server: XmppServer) -> None:
    with newcomers(xmpp_server, 2) as (one, two):
        here = roster.fetch(one)
        roster.subscribe(one, two.bare)
        here.wait(lambda known: known[two.bare].pending, 5)
        roster.refuse(two, two.wait_for(roster.asks, 5).sender)
        here.wait(lambda known: not known[two.bare].pending, 5)
        assert here[two.bare].subscription == "none"


def test_a_push_from_a_stranger_is_rejected(
    xmpp_server: XmppServer,
) -> None:
    item = "<item jid='spy@localhost' subscription='both'/>"
    with newcomers(xmpp_server, 2) as (victim, stranger):
        known = roster.fetch(victim)
        with pytest.raises(xmpp.XmppError) as raised:
            stranger.iq(
                f"<query xmlns='jabber:iq:roster'>{item}</query>", to=victim.jid, type="set"
            )
        assert raised.value.condition == "service-unavailable"
        assert dict(known) == {}


def test_wait_ends_at_its_timeout_and_with_the_connection(
    xmpp_server: XmppServer,
) -> None:
    with newcomers(xmpp_server, 1) as (one,):
        known = roster.fetch(one)
        with pytest.raises(xmpp.XmppTimeout, match=r"no change of the roster within 0\.05 s"):
            known.wait(lambda known: known["nobody@localhost"], 0.05)
        waiting = gevent.spawn(known.wait, lambda known: known["nobody@localhost"], 5)
        gevent.sleep(0)
        one.kill()
        wait_for(waiting.ready, 2, "the end of the wait")
        assert isinstance(waiting.exception, xmpp.Disconnected)
