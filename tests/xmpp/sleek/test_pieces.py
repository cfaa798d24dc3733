"""A server that sends in pieces: slixmpp's parser gets whole tokens only."""

from functools import partial
from typing import Any
from xml.etree import ElementTree

import pytest

from amoc_gevent import user
from amoc_gevent.demo.xmpp import XmppServer as DemoServer
from amoc_gevent.user import UserLeaving
from amoc_gevent.xmpp import sleek as sleekxmpp
from tests.expat import Watch
from tests.rounds import as_user
from tests.servers import wait_for
from tests.transport.scripted import Scripted
from tests.xmpp.scripted_server import passes_on


def test_after_the_duration_a_script_of_a_user_sends_no_stanza() -> None:
    def run() -> int:
        one = sleekxmpp.ClientXMPP("user_1@localhost/r", "password_1")
        refused = 0
        try:
            assert one.connect(target.address, use_tls=False)
            one.process()
            wait_for(lambda: target.counts["logins"], what="the log-in")
            user.set_load_over(True)
            for begin in (
                partial(one.send_message, one.boundjid, "hello"),
                one.send_presence,
                one.get_roster,
                partial(one.connect, target.address),
            ):
                try:
                    begin()
                except UserLeaving:
                    refused += 1
        finally:
            user.set_load_over(False)
            one.disconnect()
            one.sleek_join()
        return refused

    with DemoServer() as target:
        assert as_user(1, run)[0] == 4
        assert not any(target.counts["messages"].values())


@pytest.mark.parametrize("size", [1, 7])
def test_a_login_and_a_message_in_pieces(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    unread: list[bytes] = []

    class Watched(ElementTree.XMLPullParser):
        def __init__(self, events: Any) -> None:
            super().__init__(events)
            self._watch = Watch()

        def feed(self, data: bytes) -> None:
            super().feed(data)
            self._watch.feed(data)
            if self._watch.unread:
                unread.append(data)

    monkeypatch.setattr(ElementTree, "XMLPullParser", Watched)
    bodies: list[str] = []
    with DemoServer() as target, Scripted(passes_on(target.address, size)) as between:
        one = sleekxmpp.ClientXMPP("user_1@localhost/r", "password_1")
        one.add_event_handler("message", lambda message: bodies.append(message["body"]))
        one.add_event_handler(
            "session_start", lambda _: one.send_message(one.boundjid, "schön > 1")
        )
        try:
            assert one.connect(("127.0.0.1", between.port), use_tls=False)
            one.process()
            wait_for(lambda: bodies, what="the message")
        finally:
            one.disconnect()
            one.sleek_join()
    assert bodies == ["schön > 1"]
    assert unread == []
