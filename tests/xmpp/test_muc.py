"""Rooms on Prosody and ejabberd: access, messages, occupants and configuration."""

import gevent
import pytest

from amoc_gevent import metrics, xmpp
from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp import muc
from tests.servers import wait_for
from tests.xmpp.clients import fresh, online
from tests.xmpp_servers import XmppServer

PROTECTED = {"muc#roomconfig_passwordprotectedroom": True, "muc#roomconfig_roomsecret": "open it"}


@pytest.fixture
def place(xmpp_server: XmppServer) -> str:
    """Return the JID of a room that does not exist yet."""
    return f"{fresh('room')}@{xmpp_server.muc}"


def test_two_users_meet_in_a_room_and_hear_each_other(xmpp_server: XmppServer, place: str) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        made = muc.join(one, place, "ann")
        assert (made.new, made.inside, made.occupants) == (True, True, {"ann"})
        met = muc.join(two, place, "bob")
        assert (met.new, met.nick, met.occupants) == (False, "bob", {"ann", "bob"})
        wait_for(lambda: made.occupants == {"ann", "bob"}, 5, "the news of bob")

        assert made.say("hello").body == "hello"
        heard = two.wait_for(met.said, 5)
        assert (heard.body, heard.sender) == ("hello", f"{place}/ann")

        met.leave()
        assert (met.inside, met.occupants) == (False, set())
        wait_for(lambda: made.occupants == {"ann"}, 5, "the news that bob has left")

    operations = metrics.recorder.take().operations
    assert {name: o.count for name, o in operations.items() if name.startswith("muc")} == {
        "muc join": 2,
        "muc configure": 1,
        "muc message": 1,
        "muc leave": 1,
    }


def test_a_handler_for_all_presence_does_not_break_a_join(
    xmpp_server: XmppServer, place: str
) -> None:
    seen: list[str | None] = []
    with online(xmpp_server, 1, 2) as (one, two):
        one.on("presence", lambda presence: seen.append(presence.sender))
        assert muc.create(one, place, "ann").inside
        muc.join(two, place, "bob")
        wait_for(lambda: f"{place}/bob" in seen, 5, "the presence of bob")
    assert f"{place}/ann" not in seen


def test_a_tracked_message_is_delivered_once_to_each_occupant(
    xmpp_server: XmppServer, place: str
) -> None:
    with online(xmpp_server, 1, 2, 3) as clients:
        rooms = [muc.join(one, place, f"nick-{n}") for n, one in enumerate(clients)]
        rooms[0].send("to all", tracked=True)
        for one, room in zip(clients, rooms, strict=True):
            assert one.wait_for(room.said, 5).body == "to all"

    counters = metrics.recorder.take().counters
    assert (counters["messages sent"], counters["messages delivered"]) == (3, 3)


def test_a_room_is_created_with_its_configuration_and_requires_its_password(
    xmpp_server: XmppServer, place: str
) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        made = muc.create(one, place, "ann", PROTECTED)
        assert made.configuration()["muc#roomconfig_roomsecret"] == ["open it"]
        for wrong in (None, "open me"):
            with pytest.raises(xmpp.XmppError) as raised:
                muc.join(two, place, "bob", password=wrong)
            assert raised.value.condition == "not-authorized"
        assert muc.join(two, place, "bob", password="open it").occupants == {"ann", "bob"}

    joined = metrics.recorder.take().operations["muc join"]
    assert (joined.count, joined.errors) == (3, 2)


def test_a_nick_that_is_taken_is_a_conflict(xmpp_server: XmppServer, place: str) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        muc.create(one, place, "ann")
        with pytest.raises(xmpp.XmppError, match="conflict"):
            muc.join(two, place, "ann")


def test_an_existing_room_cannot_be_created_again(xmpp_server: XmppServer, place: str) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        made = muc.create(one, place, "ann")
        with pytest.raises(xmpp.XmppError, match=f"conflict: {place} exists already"):
            muc.create(two, place, "bob")
        made.say("alone again")  # all earlier stanzas have been processed
        assert made.occupants == {"ann"}


def test_only_members_enter_a_members_only_room(xmpp_server: XmppServer, place: str) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        muc.create(one, place, "ann", {"muc#roomconfig_membersonly": True})
        with pytest.raises(xmpp.XmppError) as raised:
            muc.join(two, place, "bob")
        assert raised.value.condition == "registration-required"


def test_only_occupants_can_speak_and_only_owners_can_configure(
    xmpp_server: XmppServer, place: str
) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        muc.create(one, place, "ann")
        room = muc.join(two, place, "bob")
        with pytest.raises(xmpp.XmppError) as raised:
            room.configure(PROTECTED)
        assert raised.value.condition == "forbidden"
        room.leave()
        with pytest.raises(xmpp.XmppError) as raised:
            room.say("is anybody there")
        assert raised.value.condition == "not-acceptable"


def test_history_arrives_only_if_requested(xmpp_server: XmppServer, place: str) -> None:
    with online(xmpp_server, 1, 2, 3) as (one, two, three):
        made = muc.create(one, place, "ann")
        for text in ("first", "second"):
            made.say(text)
        room = muc.join(two, place, "bob", history=1)
        assert two.wait_for(room.said, 5).body == "second"
        room = muc.join(three, place, "cid")
        made.say("third")
        assert three.wait_for(room.said, 5).body == "third"


def _has_ended(client: xmpp.Client, room: str) -> bool:
    """Query the room itself: while a room ends, ejabberd drops stanzas to it, listed or not."""
    try:
        client.iq("<query xmlns='http://jabber.org/protocol/disco#info'/>", to=room, timeout=1)
    except xmpp.XmppTimeout:
        return False
    except xmpp.XmppError as error:
        return error.condition == "item-not-found"
    return False


def test_a_destroyed_room_is_gone(xmpp_server: XmppServer, place: str) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        made = muc.create(one, place, "ann")
        room = muc.join(two, place, "bob")
        made.destroy("time to go")
        wait_for(lambda: not room.inside, 5, "the news of the end")
        assert not made.inside
        wait_for(lambda: _has_ended(two, place), 10, "the end of the room")
        assert muc.create(two, place, "bob").new


def test_a_join_waits_until_the_owner_unlocks_the_room(xmpp_server: XmppServer, place: str) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        made = muc.Room(one, place, "ann")
        made._enter("muc create", None, 0, None)
        joining = gevent.spawn(muc.join, two, place, "bob")
        two.ping()  # its answer follows the answer to the first attempt
        made.configure()
        assert joining.get(timeout=5).occupants == {"ann", "bob"}
    assert metrics.recorder.take().operations["muc join"].errors == 0


@pytest.mark.parametrize(("where", "nick"), [("room", "ann"), ("a@b/c", "ann"), ("a@b", "")])
def test_an_invalid_room_is_refused_at_once(where: str, nick: str) -> None:
    with pytest.raises(UsageError, match="name@service"):
        muc.join(xmpp.Client("user_1@localhost"), where, nick)
