"""PubSub and PEP on Prosody and ejabberd: items reach their subscribers and are stored."""

from xml.etree.ElementTree import Element

import gevent
import pytest

from amoc_gevent import metrics, xmpp
from amoc_gevent.xmpp import pubsub, retrying
from tests.transport.scripted import Scripted
from tests.xmpp import scripted_server
from tests.xmpp.clients import fresh, online
from tests.xmpp.scripted_server import LOGIN, says
from tests.xmpp_servers import XmppServer


def entry(text: str) -> str:
    """Return a payload."""
    return f"<entry xmlns='urn:example:news'>{text}</entry>"


def texts(items: list[pubsub.Item]) -> list[tuple[str, str | None]]:
    """Return the ids of the items and the texts of their payloads."""
    return [(i.id, None if i.payload is None else i.payload.text) for i in items]


def test_published_items_reach_subscribers_and_are_stored(xmpp_server: XmppServer) -> None:
    service, node = xmpp_server.pubsub, fresh("news")
    with online(xmpp_server, 1, 2) as (one, two):
        pubsub.create(one, service, node, {"pubsub#max_items": 10, "pubsub#persist_items": True})
        assert pubsub.subscribe(two, service, node) == "subscribed"
        assert pubsub.publish(one, service, node, entry("first"), id="a") == "a"
        given = pubsub.publish(one, service, node, entry("second"))
        assert given not in {"", "a"}

        heard = [two.wait_for(pubsub.event(service, node), 5) for _ in range(2)]
        expected = [("a", "first"), (given, "second")]
        assert [one for event in heard for one in texts(pubsub.items_of(event))] == expected
        assert sorted(texts(pubsub.items(two, service, node))) == sorted(expected)
        assert texts(pubsub.items(two, service, node, ids=["a"])) == [("a", "first")]
        assert texts(pubsub.items(two, service, node, newest=1)) == [(given, "second")]

    operations = metrics.recorder.take().operations
    assert {name: o.count for name, o in operations.items() if name.startswith("pubsub")} == {
        "pubsub create": 1,
        "pubsub subscribe": 1,
        "pubsub publish": 2,
        "pubsub items": 3,
    }


def test_an_element_can_be_published_and_retracted(xmpp_server: XmppServer) -> None:
    service, node = xmpp_server.pubsub, fresh("news")
    payload = Element("{urn:example:news}entry")
    payload.text = "<&>"
    with online(xmpp_server, 1, 2) as (one, two):
        pubsub.create(one, service, node)
        pubsub.subscribe(two, service, node)
        pubsub.publish(one, service, node, payload, id="x")
        event = two.wait_for(pubsub.event(service, node), 5)
        assert texts(pubsub.items_of(event)) == [("x", "<&>")]
        pubsub.retract(one, service, node, "x")
        event = two.wait_for(pubsub.event(service, node), 5)
        assert pubsub.retracted_from(event) == ["x"]
        assert pubsub.items(one, service, node) == []


def test_an_unsubscribed_user_gets_no_events(xmpp_server: XmppServer) -> None:
    service, node = xmpp_server.pubsub, fresh("news")
    with online(xmpp_server, 1, 2, 3) as (one, two, three):
        pubsub.create(one, service, node)
        for reader in (two, three):
            pubsub.subscribe(reader, service, node)
        pubsub.unsubscribe(two, service, node)
        pubsub.publish(one, service, node, entry("late"))
        three.wait_for(pubsub.event(service, node), 5)
        two.ping()
        with pytest.raises(xmpp.XmppTimeout):
            two.wait_for(pubsub.event(service, node), 0.05)
        with pytest.raises(xmpp.XmppError) as raised:
            pubsub.unsubscribe(two, service, node)
        assert raised.value.condition == "unexpected-request"


def test_errors_have_their_condition(xmpp_server: XmppServer) -> None:
    service, node = xmpp_server.pubsub, fresh("news")
    with online(xmpp_server, 1, 2) as (one, two):
        with pytest.raises(xmpp.XmppError) as raised:
            pubsub.items(one, service, node)
        assert raised.value.condition == "item-not-found"
        pubsub.create(one, service, node)
        with pytest.raises(xmpp.XmppError) as raised:
            pubsub.create(one, service, node)
        assert raised.value.condition == "conflict"
        pubsub.delete(one, service, node)
        with pytest.raises(xmpp.XmppError) as raised:
            pubsub.subscribe(two, service, node)
        assert raised.value.condition == "item-not-found"
    created = metrics.recorder.take().operations["pubsub create"]
    assert (created.count, created.errors) == (2, 1)


def test_a_user_publishes_on_its_own_pep_node(xmpp_server: XmppServer) -> None:
    node = fresh("urn:example:mood")
    public = {"pubsub#access_model": "open"}
    with online(xmpp_server, 1, 2) as (one, two):
        pubsub.publish(one, None, node, entry("fine"), id="current", options=public)
        assert pubsub.subscribe(two, one.bare, node) == "subscribed"
        pubsub.publish(one, None, node, entry("better"), id="current")
        match = pubsub.event(one.bare, node)
        heard = lambda s: match(s) and texts(pubsub.items_of(s)) == [("current", "better")]  # noqa: E731
        assert two.wait_for(heard, 5).sender == one.bare
        assert texts(pubsub.items(two, one.bare, node)) == [("current", "better")]
        assert texts(pubsub.items(one, None, node)) == [("current", "better")]
        with pytest.raises(xmpp.XmppError) as raised:
            pubsub.publish(two, one.bare, node, entry("bad"))
        assert raised.value.condition == "forbidden"
        with pytest.raises(xmpp.XmppError) as raised:
            pubsub.delete(two, one.bare, node)
        assert raised.value.condition == "forbidden"
        pubsub.delete(one, None, node)


def test_ensure_creates_a_node_once_and_accepts_an_existing_one(xmpp_server: XmppServer) -> None:
    service, node = xmpp_server.pubsub, fresh("news")
    with online(xmpp_server, 1, 2) as (one, two):
        assert pubsub.ensure(one, service, node)
        assert not pubsub.ensure(two, service, node)
        with pytest.raises(xmpp.XmppError) as raised:
            pubsub.ensure(two, one.bare, node)  # only the owner may create PEP nodes
        assert raised.value.condition == "forbidden"
    created = metrics.recorder.take().operations["pubsub create"]
    assert (created.count, created.errors) == (3, 1)


NODE_BUSY = (
    "<iq type='error' id='{id}'><error type='wait'><internal-server-error "
    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
)
CONFLICT = NODE_BUSY.replace("wait", "cancel").replace("internal-server-error", "conflict")
MADE = "<iq type='result' id='{id}'/>"


@pytest.mark.parametrize(("last", "is_new"), [(MADE, True), (CONFLICT, False)])
def test_ensure_retries_after_a_transient_error(last: str, is_new: bool) -> None:
    with Scripted(says((*LOGIN, NODE_BUSY, NODE_BUSY, last))) as server:
        one = scripted_server.client(server.port).connect(presence=False)
        assert pubsub.ensure(one, "pubsub.localhost", "node") is is_new
        one.kill()
    created = metrics.recorder.take().operations["pubsub create"]
    assert (created.count, created.errors) == (1, 0)


def test_ensure_raises_a_persistent_error_after_a_pause_that_took_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pause = gevent.sleep
    with Scripted(says((*LOGIN, *[NODE_BUSY] * 20))) as server:
        one = scripted_server.client(server.port).connect(presence=False)
        monkeypatch.setattr(retrying.gevent, "sleep", lambda _: pause(0.5))
        with pytest.raises(xmpp.XmppError, match="internal-server-error"):
            pubsub.ensure(one, "pubsub.localhost", "node", timeout=0.4)
        one.kill()
    created = metrics.recorder.take().operations["pubsub create"]
    assert created.error_groups == {"internal-server-error": 1}


def test_ensure_raises_a_persistent_error_at_its_timeout() -> None:
    with Scripted(says((*LOGIN, *[NODE_BUSY] * 20))) as server:
        one = scripted_server.client(server.port).connect(presence=False)
        with pytest.raises(xmpp.XmppError, match="internal-server-error"):
            pubsub.ensure(one, "pubsub.localhost", "node", timeout=0.2)
        one.kill()
    created = metrics.recorder.take().operations["pubsub create"]
    assert created.error_groups == {"internal-server-error": 1}


def test_ensure_stops_when_the_connection_is_lost() -> None:
    with Scripted(says((*LOGIN, NODE_BUSY), then=scripted_server.closes)) as server:
        one = scripted_server.client(server.port).connect(presence=False)
        with pytest.raises(xmpp.Disconnected):
            pubsub.ensure(one, "pubsub.localhost", "node")
