"""The XMPP scenarios on Prosody, ejabberd and the demo server: what they count is what is there."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from amoc_gevent import xmpp
from amoc_gevent.xmpp import fanout
from tests.demo_xmpp import DemoXmpp
from tests.integration.conftest import Amoc
from tests.servers import Demo, wait_for
from tests.xmpp.clients import fresh, newcomers, online, registered, where
from tests.xmpp_servers import XmppServer

USERS = 12


def at(server: XmppServer, **more: object) -> list[str]:
    """The options that lead a scenario to a server, and `more` settings."""
    settings = {"port": server.port, "verify": server.ca, "sasl": "PLAIN", **more}
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def load(amoc: Amoc, scenario: str, *options: str, seconds: int = 2) -> dict[str, Any]:
    """Let USERS run a scenario for some seconds, in two workers; nobody may fail."""
    summary = amoc.load(
        scenario, 1, USERS, "--user-rate", "200/s", "--workers", 2, "--stop-timeout", "20s",
        *(("--duration", f"{seconds}s") if seconds else ("--repeat-num", "1")), *options,
    )  # fmt: skip
    assert summary["errors"] == []
    failed = {n: o["error_groups"] for n, o in summary["operations"].items() if o["errors"]}
    assert failed == {}
    return summary


def count(summary: dict[str, Any], operation: str) -> int:
    """How often an operation was done."""
    found: int = summary["operations"][operation]["count"]
    return found


def test_rooms_hear_what_the_users_of_xmpp_muc_say(amoc: Amoc, xmpp_server: XmppServer) -> None:
    template = fresh("muc") + "-{id}"
    with online(xmpp_server, 491, 492, 493) as observers:
        jids = [f"{template.format(id=n)}@{xmpp_server.muc}" for n in (1, 2, 3)]
        rooms = [
            xmpp.muc.join(one, jid, "observer") for one, jid in zip(observers, jids, strict=True)
        ]
        heard: Counter[tuple[str, str]] = Counter()
        for one, room in zip(observers, rooms, strict=True):
            one.on(room.said, lambda said: heard.update([tuple(said.sender.split("/"))]))
        options = at(xmpp_server, room=template, occupants=4, interval="100ms", linger="500ms")
        summary = load(amoc, "xmpp_muc", *options)
        for one in observers:
            one.ping()
        said = summary["counters"]["muc messages said"]
        wait_for(lambda: sum(heard.values()) >= said, 5, "the last message in the rooms")
        assert sum(heard.values()) == said > USERS * 3
        expected = {(jids[(n - 1) // 4], f"user_{n}") for n in range(1, USERS + 1)}
        assert set(heard) == expected
        wait_for(lambda: all(r.occupants == {"observer"} for r in rooms), 5, "all to have left")
    messages = summary["messages"]
    assert messages["lost"] == messages["on_the_way"] == messages["duplicated"] == 0
    assert said <= messages["delivered"] <= 4 * said
    assert messages["pairs"] == 3 * 4 * 4
    assert count(summary, "xmpp message delivery") == messages["delivered"] == messages["sent"]
    assert count(summary, "muc join") == count(summary, "muc leave") == USERS
    assert "muc configure" not in summary["operations"], "the observers made the rooms"


def test_one_speaker_in_each_room_is_heard_by_all(amoc: Amoc, xmpp_server: XmppServer) -> None:
    options = at(
        xmpp_server, room=fresh("muc") + "-{id}", occupants=6, speakers="one", interval="100ms",
        linger="500ms",
    )  # fmt: skip
    summary = load(amoc, "xmpp_muc", *options)
    assert summary["messages"]["pairs"] == 2 * 6
    assert summary["messages"]["lost"] == 0
    assert count(summary, "muc configure") == 2, "each room was made once"


def test_archives_have_what_the_users_of_xmpp_mam_wrote(
    amoc: Amoc, xmpp_server: XmppServer
) -> None:
    user = registered(xmpp_server, USERS)
    options = at(xmpp_server, user=user, messages=25, page=10)
    summary = load(amoc, "xmpp_mam", *options, seconds=0)
    assert summary["counters"]["messages written"] == USERS * 25
    assert summary["counters"]["messages archived"] == USERS * 25
    assert count(summary, "archive complete") == USERS
    assert count(summary, "mam page") >= USERS * (1 + 3)
    for number in (1, USERS):
        jid = f"{user.format(id=number)}@{xmpp_server.domain}"
        with xmpp.Client(jid, f"password_{number}", where(xmpp_server), sasl="PLAIN") as client:
            own = [m for m in xmpp.mam.messages(client) if (m.message.sender or "").startswith(jid)]
        assert len(own) == 25


def test_an_observer_hears_each_item_that_the_users_of_xmpp_pubsub_publish(
    amoc: Amoc, xmpp_server: XmppServer
) -> None:
    template = fresh("node") + "-{id}"
    with online(xmpp_server, 494) as (observer,):
        nodes = [template.format(id=n) for n in (1, 2)]
        heard: Counter[str] = Counter()
        for node in nodes:
            xmpp.pubsub.create(observer, xmpp_server.pubsub, node, {"pubsub#publish_model": "open"})
            xmpp.pubsub.subscribe(observer, xmpp_server.pubsub, node)
            match = xmpp.pubsub.event(xmpp_server.pubsub, node)
            observer.on(
                match,
                lambda event, node=node: heard.update(node for _ in xmpp.pubsub.items_of(event)),
            )
        options = at(xmpp_server, node=template, subscribers=6, interval="100ms", linger="500ms")
        summary = load(amoc, "xmpp_pubsub", *options)
        published = summary["counters"]["pubsub items published"]
        wait_for(lambda: sum(heard.values()) >= published, 5, "the last event")
        assert sum(heard.values()) == count(summary, "pubsub publish") == published > USERS * 3
        assert set(heard) == set(nodes)
    assert "pubsub events lost" not in summary["counters"]
    # of each publisher, each subscriber counts all but the first that it heard
    events, most = count(summary, "pubsub event"), 6 * (published - USERS)
    assert published < events <= most
    assert count(summary, "pubsub unsubscribe") == count(summary, "pubsub subscribe") == USERS


def test_users_of_xmpp_pubsub_make_their_node_and_can_come_again(
    amoc: Amoc, xmpp_server: XmppServer
) -> None:
    options = at(
        xmpp_server, node=fresh("node") + "-{id}", subscribers=12, publishers="one",
        interval="100ms", linger="500ms",
    )  # fmt: skip
    for _ in range(2):
        summary = load(amoc, "xmpp_pubsub", *options, seconds=1)
        assert count(summary, "pubsub create") == USERS
        assert count(summary, "pubsub event") > 0
        assert "pubsub events lost" not in summary["counters"]


@pytest.mark.parametrize("keep", ["no", "yes"])
def test_accounts_of_xmpp_register_are_made_and_stay_only_if_asked_for(
    amoc: Amoc, xmpp_server: XmppServer, keep: str
) -> None:
    user = fresh("scenario") + "-{id}"
    summary = load(
        amoc, "xmpp_register", *at(xmpp_server, user=user, keep=keep, stay="10ms"), seconds=0
    )
    assert count(summary, "register account") == count(summary, "xmpp bind") == USERS
    assert summary["operations"].get("register remove", {"count": 0})["count"] == (
        USERS if keep == "no" else 0
    )
    assert sum(gets_in(xmpp_server, user.format(id=n), n) for n in range(1, USERS + 1)) == (
        0 if keep == "no" else USERS
    )


def gets_in(server: XmppServer, name: str, number: int) -> bool:
    """Whether the server knows an account."""
    client = xmpp.Client(
        f"{name}@{server.domain}", f"password_{number}", where(server), sasl="PLAIN"
    )
    try:
        client.connect()
    except xmpp.AuthenticationError:
        return False
    client.close()
    return True


def test_contacts_see_each_change_that_the_users_of_xmpp_presence_make(
    amoc: Amoc, xmpp_server: XmppServer
) -> None:
    user = registered(xmpp_server, USERS)
    options = at(xmpp_server, user=user, contacts=4, interval="100ms")
    load(amoc, "xmpp_presence", *options)  # in which they befriend each other
    watched = f"{user.format(id=6)}@{xmpp_server.domain}"
    with (
        newcomers(xmpp_server, 1) as (observer,),
        xmpp.Client(watched, "password_6", where(xmpp_server), sasl="PLAIN") as client,
    ):
        befriend(observer, client)
        client.close()
        heard: list[str | None] = []
        observer.on("presence", lambda presence: heard.append(told(presence)))
        summary = load(amoc, "xmpp_presence", *options)
        observer.ping()
        numbers = [int(number) for number in heard if number]
    changes = summary["counters"]["presences changed"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert 1 < len(numbers) < changes
    assert "presences lost" not in summary["counters"]
    # at most two contacts on each side, and one's own comes back, too
    assert changes < count(summary, "presence delivery") <= 5 * changes
    assert count(summary, "roster get") == USERS


def befriend(one: xmpp.Client, two: xmpp.Client) -> None:
    """Let `one` see the presence of `two`."""
    known = xmpp.roster.fetch(one)
    xmpp.roster.subscribe(one, two.bare)
    xmpp.roster.approve(two, two.wait_for(xmpp.roster.asks, 5).sender)
    known.wait(lambda known: known[two.bare].subscription == "to", 5)


def told(presence: xmpp.Stanza) -> str | None:
    """The number in a presence of a source."""
    child = presence.find(f"{{{fanout.NAMESPACE}}}told")
    return None if child is None else child.get("n")


def test_contacts_see_each_change_on_the_demo_server(amoc: Amoc, tmp_path: Path) -> None:
    with DemoXmpp(tmp_path, "--neighbours", "2") as server:
        options = at_demo(server.port, contacts=4, interval="100ms")
        summary = load(amoc, "xmpp_presence", *options)
        counts = server.counts()
    changes = summary["counters"]["presences changed"]
    assert counts["presences"] == changes + 2 * USERS, "they came, changed and went"
    assert "presences lost" not in summary["counters"]
    assert count(summary, "presence delivery") > 2 * changes


def at_demo(port: int, **more: object) -> list[str]:
    """The options that lead a scenario to a demo server."""
    settings = {"port": port, "tls": "none", **more}
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def test_accounts_are_made_on_the_demo_server(amoc: Amoc, tmp_path: Path) -> None:
    with DemoXmpp(tmp_path) as server:
        summary = load(amoc, "xmpp_register", *at_demo(server.port, stay="10ms"), seconds=0)
        counts = server.counts()
    assert counts["registered"] == counts["logins"] == USERS
    assert count(summary, "register account") == count(summary, "register remove") == USERS
    assert counts["online"] == 0


def test_xmpp_http_counts_what_both_servers_count(amoc: Amoc, tmp_path: Path, demo: Demo) -> None:
    with DemoXmpp(tmp_path) as server:
        options = at_demo(
            server.port, url=demo.url, every=3, think="50ms", interval="50ms", linger="500ms"
        )
        summary = load(amoc, "xmpp_http", *options)
        counts = server.counts()
    assert counts["logins"] == count(summary, "xmpp auth") == USERS * 2 // 3
    assert counts["messages"]["received"] == summary["messages"]["sent"] > 100
    assert summary["messages"]["delivered"] == counts["messages"]["delivered"]
    assert demo.counts()["total"] == count(summary, "GET /") > 50


def test_xmpp_http_does_both_with_real_servers(
    amoc: Amoc, xmpp_server: XmppServer, nginx: Any
) -> None:
    options = at(xmpp_server, url=nginx.url, think="100ms", interval="100ms", linger="500ms")
    summary = load(amoc, "xmpp_http", *options)
    assert nginx.requests_logged() == count(summary, "GET /") > USERS
    messages = summary["messages"]
    assert messages["sent"] == messages["delivered"] > USERS
    assert messages["lost"] == messages["on_the_way"] == 0
