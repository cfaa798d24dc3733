"""Archives of users and rooms on Prosody and ejabberd: all messages, page by page."""

from datetime import UTC, datetime

import pytest

from amoc_gevent import metrics, xmpp
from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp import mam, muc
from tests.servers import wait_for
from tests.xmpp.clients import fresh, online
from tests.xmpp_servers import XmppServer

TEXTS = [f"number {n}" for n in range(7)]


def bodies(found) -> list[str | None]:
    """Return the texts of archived messages."""
    return [one.message.body for one in found]


def converse(one: xmpp.Client, two: xmpp.Client) -> None:
    """Send TEXTS from `one` to `two`, whose archives are empty."""
    for text in TEXTS:
        one.send_message(two.bare, text)
    for client in (one, two):
        wait_for(lambda it=client: bodies(mam.messages(it)) == TEXTS, 5, "all in the archive")
    metrics.recorder.reset()


@pytest.mark.parametrize("reader", [0, 1])
def test_a_conversation_is_in_the_archives_of_both_in_pages(
    xmpp_server: XmppServer, reader: int
) -> None:
    with online(xmpp_server, *xmpp_server.take(2)) as pair:
        converse(*pair)
        which = mam.Filter(with_=pair[1 - reader].bare)
        found = list(mam.pages(pair[reader], which, size=3))
        assert [bodies(page.messages) for page in found] == [TEXTS[:3], TEXTS[3:6], TEXTS[6:]]
        assert [page.complete for page in found] == [False, False, True]
        newest = next(mam.pages(pair[reader], which, size=5, newest_first=True))
        assert bodies(newest.messages) == TEXTS[2:]

    page = metrics.recorder.take().operations["mam page"]
    assert (page.count, page.errors) == (4, 0)


def test_all_pages_together_are_the_archive_for_any_page_size(xmpp_server: XmppServer) -> None:
    with online(xmpp_server, *xmpp_server.take(2)) as pair:
        converse(*pair)
        ids = [[one.id for one in mam.messages(pair[0], page=size)] for size in (1, 3, 7, 50)]
        assert len(set(ids[0])) == len(ids[0]) == len(TEXTS)
        assert ids[1:] == [ids[0]] * 3
        back = [
            one.id
            for page in mam.pages(pair[0], size=3, newest_first=True)
            for one in reversed(page.messages)
        ]
        assert back[::-1] == ids[0]


def test_filters_select_by_time_and_jid(xmpp_server: XmppServer) -> None:
    with online(xmpp_server, *xmpp_server.take(2)) as (one, two):
        converse(one, two)
        everything = list(mam.messages(one))
        middle = everything[3].stamp
        assert middle.endswith(("Z", "+00:00"))
        later = bodies(mam.messages(one, start=middle))
        earlier = bodies(mam.messages(one, end=middle))
        assert TEXTS[4:] == later[-3:]
        assert TEXTS[:3] == earlier[:3]
        assert set(later) | set(earlier) == set(TEXTS)
        assert bodies(mam.messages(one, with_=xmpp_server.jid(99))) == []
        assert bodies(mam.messages(one, end=datetime(2001, 1, 1, tzinfo=UTC))) == []
        with pytest.raises(UsageError, match="no time zone"):
            mam.Filter(start=datetime(2001, 1, 1))  # noqa: DTZ001
        assert everything[0].message.sender == one.jid


def test_a_room_archives_its_messages(xmpp_server: XmppServer) -> None:
    place = f"{fresh('archive')}@{xmpp_server.muc}"
    with online(xmpp_server, 1, 2) as (one, two):
        room = muc.join(one, place, "ann")
        for text in TEXTS:
            room.say(text)
        room = muc.join(two, place, "bob")
        said = list(mam.messages(two, of=place, page=3))
        assert bodies(one for one in said if one.message.body) == TEXTS
        assert {one.message.sender for one in said if one.message.body} == {f"{place}/ann"}


def test_a_page_after_an_unknown_id_is_an_error(xmpp_server: XmppServer) -> None:
    with online(xmpp_server, *xmpp_server.take(2)) as (one, two):
        converse(one, two)
        if xmpp_server.name == "ejabberd":  # its ids are timestamps, and it accepts any
            assert bodies(mam.page(one, after="1").messages) == TEXTS
            return
        with pytest.raises(xmpp.XmppError) as raised:
            mam.page(one, after="never-there")
        assert raised.value.condition == "item-not-found"
    assert metrics.recorder.take().operations["mam page"].errors == 1


def test_a_non_member_cannot_read_the_archive_of_a_room(xmpp_server: XmppServer) -> None:
    place = f"{fresh('archive')}@{xmpp_server.muc}"
    with online(xmpp_server, 1, 2) as (one, two):
        muc.create(one, place, "ann", {"muc#roomconfig_membersonly": True}).say("secret")
        with pytest.raises(xmpp.XmppError) as raised:
            list(mam.messages(two, of=place))
        assert raised.value.condition in {"forbidden", "not-allowed"}


def test_a_message_handler_gets_no_archived_messages(xmpp_server: XmppServer) -> None:
    seen = []
    with online(xmpp_server, *xmpp_server.take(2)) as (one, two):
        converse(one, two)
        one.on("message", seen.append)
        assert bodies(mam.messages(one)) == TEXTS
        one.ping()
    assert seen == []
