"""The client's methods, against Prosody, ejabberd and scripted servers."""

from functools import partial
from xml.etree.ElementTree import Element, SubElement

import gevent
import pytest
from gevent.event import AsyncResult, Event
from slixmpp import Message

from amoc_gevent import clock, metrics, user, xmpp
from amoc_gevent.errors import UsageError
from amoc_gevent.user import UserGreenlet, UserLeaving
from tests.rounds import as_user
from tests.servers import wait_for
from tests.transport.scripted import Connection, Scripted, stays_silent
from tests.xmpp.clients import newcomers, online
from tests.xmpp.scripted_server import LOGIN, client, says
from tests.xmpp_servers import XmppServer

INFO = "http://jabber.org/protocol/disco#info"


def messages(count: int) -> str:
    """Return `count` messages, one after the other."""
    return "".join(f"<message><body>{number}</body></message>" for number in range(count))


def bodies(one: xmpp.Client, count: int) -> list[str | None]:
    """Return the bodies of the next messages."""
    return [one.wait_for("message", 5).body for _ in range(count)]


def test_after_the_duration_a_user_sends_no_stanza_and_closes_its_stream() -> None:
    said: list[bytes] = []

    def listens(sock: Connection) -> None:
        while data := sock.recv(65536):
            said.append(data)
            if b"</stream:stream>" in data:
                sock.sendall(b"</stream:stream>")

    def run() -> int:
        refused = 0
        try:
            with client(server.port) as one:
                user.set_load_over(True)
                for begin in (
                    one.send_presence,
                    partial(one.send_message, "user_2@localhost", "hello"),
                    partial(one.iq, "<ping xmlns='urn:xmpp:ping'/>"),
                    client(server.port).connect,
                ):
                    try:
                        begin()
                    except UserLeaving:
                        refused += 1
                user.sleep(3600.0)
        except UserLeaving:
            return refused
        return 0

    try:
        with Scripted(says(LOGIN, listens, after=" ")) as server:
            assert as_user(1, run) == (4, None)
            wait_for(lambda: b"</stream:stream>" in b"".join(said), what="the end of the stream")
            assert server.connections == 1
    finally:
        user.set_load_over(False)
    assert b"".join(said) in {b"<presence/></stream:stream>", b"</stream:stream>"}


def test_at_the_end_of_the_duration_a_user_that_waits_for_a_stanza_leaves() -> None:
    waiting = Event()

    def run() -> str:
        one = client(server.port)
        try:
            with one:
                waiting.set()
                one.wait_for("message", 3600)
        except UserLeaving:
            return "left"
        return "waited"

    with Scripted(says(LOGIN, after=" ")) as server:
        done: AsyncResult = AsyncResult()
        greenlet = UserGreenlet(lambda: done.set(run()), gevent.get_hub())
        greenlet.user_id = 1
        gevent.get_hub().loop.run_callback(greenlet.switch)
        waiting.wait(10)
        try:
            user.set_load_over(True)
            gevent.get_hub().loop.run_callback(greenlet.wake)
            assert done.get(timeout=10) == "left"
        finally:
            user.set_load_over(False)


def test_every_kind_of_stanza_can_be_sent(xmpp_server: XmppServer) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        element = Element("{jabber:client}message", to=two.jid)
        SubElement(element, "{jabber:client}body").text = "an <element>"
        slix = Message()
        slix["to"], slix["body"] = two.jid, "a stanza of slixmpp's"
        for item in (
            f"<message to='{two.jid}'><body>ä text</body></message>",
            f"<message to='{two.jid}'><body>some bytes</body></message>".encode(),
            element,
            slix,
        ):
            one.send(item)
        expected = ["ä text", "some bytes", "an <element>", "a stanza of slixmpp's"]
        assert bodies(two, 4) == expected
        with pytest.raises(UsageError, match="int cannot be sent: str, bytes, an Element"):
            one.send(7)


def test_a_stanza_becomes_a_slixmpp_object_on_request(xmpp_server: XmppServer) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        one.send_message(two.jid, "hello", id="x&y")
        made = two.stanza(two.wait_for("message", 5))
        assert isinstance(made, Message)
        assert (made["body"], made["from"].full, made["id"]) == ("hello", one.jid, "x&y")
        with pytest.raises(UsageError, match="is no stanza"):
            two.stanza(Element("{urn:x}y"))


@pytest.mark.parametrize(
    ("request_", "kind", "condition"),
    [
        ("<ping xmlns='urn:xmpp:ping'/>", "get", None),
        (f"<query xmlns='{INFO}'/>", "get", None),
        ("<query xmlns='urn:nobody:knows'/>", "get", "service-unavailable"),
        ("<query xmlns='urn:nobody:knows'/>", "set", "service-unavailable"),
        ("<ping xmlns='urn:xmpp:ping'/>", "set", "service-unavailable"),
    ],
)
def test_requests_are_answered_while_the_user_sleeps(
    xmpp_server: XmppServer, request_: str, kind: str, condition: str | None
) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        if condition is None:
            answer = one.iq(request_, to=two.jid, type=kind)
            assert answer.sender == two.jid
            if INFO in request_:
                found = {child.get("var") for child in answer[0]}
                assert {INFO, "urn:xmpp:ping"} <= found
        else:
            with pytest.raises(xmpp.XmppError) as raised:
                one.iq(request_, to=two.jid, type=kind)
            assert (raised.value.condition, raised.value.type) == (condition, "cancel")


def test_a_request_without_content_is_answered_with_bad_request() -> None:
    heard: list[bytes] = []

    def asks(sock) -> None:
        heard.append(sock.recv(65536))
        stays_silent(sock)

    empty = "<iq type='get' id='e' from='a@localhost'/><iq type='result' id='stray'/>"
    with Scripted(says(LOGIN, asks, after=empty)) as server:
        one = client(server.port).connect(presence=False)
        wait_for(lambda: heard, what="the answer")
        assert (
            b"<iq type='error' id='e' to='a@localhost'><error type='modify'><bad-requ" in heard[0]
        )
        one.kill()


def test_a_handler_of_requests_answers_them_itself(xmpp_server: XmppServer) -> None:
    with online(xmpp_server, 1, 2) as (one, two):

        def answers(asked: xmpp.Stanza) -> None:
            gevent.sleep(0.01)  # it may block
            two.send(
                f"<iq type='result' to='{asked.sender}' id='{asked.id}'><a xmlns='urn:a'/></iq>"
            )

        two.on("{urn:question}q", answers)
        assert one.iq("<q xmlns='urn:question'/>", to=two.jid)[0].tag == "{urn:a}a"
        with pytest.raises(xmpp.XmppError, match="service-unavailable"):
            one.iq("<q xmlns='urn:other'/>", to=two.jid)


def test_wait_for_matches_by_name_child_or_function(xmpp_server: XmppServer) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        one.send_message(two.jid, "plain")
        one.send_message(two.jid, "special", extra="<x xmlns='urn:x'/>")
        one.send_message(two.jid, "last")
        one.send_presence(two.jid, status="<here>")
        assert two.wait_for("{urn:x}x", 5).body == "special"
        assert two.wait_for(lambda stanza: stanza.body == "last", 5).type == "chat"
        directed = two.wait_for(lambda s: s.name == "presence" and s.sender == one.jid, 5)
        assert directed.findtext("{*}status") == "<here>"
        assert two.wait_for("message", 5).body == "plain"
        with pytest.raises(UsageError, match="match='massage': message, presence, iq"):
            two.wait_for("massage", 5)


def test_wait_for_times_out(xmpp_server: XmppServer) -> None:
    with online(xmpp_server, 1) as (one,):
        with pytest.raises(xmpp.XmppTimeout, match=r"time-out: no message within 0\.02 s"):
            one.wait_for("message", 0.02)
        one.ping()


def test_a_stanza_has_the_kernels_arrival_time(
    xmpp_server: XmppServer,
) -> None:
    with online(xmpp_server, 1, 2) as (one, two):
        one.send_message(two.jid, "sent before")
        two.wait_for("message", 5)
        one.send_message(two.jid, "while nobody read")
        busy_until = clock.monotonic() + 0.3
        while clock.monotonic() < busy_until:
            pass
        assert two.wait_for("message", 5).received_at < busy_until


def test_handlers_run_in_the_order_of_the_stanzas_and_may_block() -> None:
    heard: list[str | None] = []
    with Scripted(says(LOGIN, after=messages(20) + "<presence/>")) as server:
        one = client(server.port)

        def slow(message: xmpp.Stanza) -> None:
            gevent.sleep(0)
            heard.append(message.body)

        one.on("message", slow)
        one.connect(presence=False)
        one.wait_for("presence", 5)
        wait_for(lambda: len(heard) == 20, what="the handlers")
        one.kill()
    assert heard == [str(number) for number in range(20)]


def test_an_exception_in_a_handler_is_the_users() -> None:
    with Scripted(says(LOGIN, after=messages(1))) as server:

        def start() -> None:
            failed = Event()
            with client(server.port) as one:

                def fails(_: xmpp.Stanza) -> None:
                    failed.set()
                    raise ValueError("the handler's")

                one.on("message", fails)
                failed.wait(5)
                one.kill()

        _, error = as_user(1, start)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("rule", "kept", "dropped"),
    [
        (xmpp.Inbox(3), ["7", "8", "9"], 7),
        (xmpp.Inbox(3, "drop-newest"), ["0", "1", "2"], 7),
        (xmpp.Inbox(10, "disconnect"), [str(number) for number in range(10)], 0),
        (xmpp.Inbox(0), [], 0),
    ],
)
def test_an_inbox_keeps_stanzas_by_its_rule(
    rule: xmpp.Inbox, kept: list[str], dropped: int
) -> None:
    with Scripted(says(LOGIN, after=messages(10))) as server:
        one = xmpp.Client("user_1@localhost", "p", client(server.port).server, inbox=rule)
        one.connect(presence=False)
        stanzas = metrics.recorder.snapshot.counters
        wait_for(lambda: stanzas.get("xmpp stanzas received", 0) >= 12, what="all of them")
        assert bodies(one, len(kept)) == kept
        with pytest.raises(xmpp.XmppTimeout):
            one.wait_for("message", 0.01)
        one.kill()
    assert metrics.recorder.snapshot.counters.get("xmpp stanzas dropped", 0) == dropped


def test_a_full_inbox_disconnects_if_configured() -> None:
    with Scripted(says(LOGIN, after=messages(4))) as server:
        rule = xmpp.Inbox(3, "disconnect")
        one = xmpp.Client("user_1@localhost", "p", client(server.port).server, inbox=rule)
        one.connect(presence=False)
        wait_for(lambda: not one.connected, what="the end of the connection")
        assert bodies(one, 3) == ["0", "1", "2"], "kept stanzas can still be read"
        with pytest.raises(xmpp.Disconnected, match="inbox overflow"):
            one.wait_for("message", 5)


@pytest.mark.parametrize("wrong", [{"size": -1}, {"overflow": "explode"}])
def test_invalid_inbox_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        xmpp.Inbox(**wrong)


def test_close_ends_the_stream_and_kill_does_not(
    xmpp_server: XmppServer,
) -> None:
    said: list[bytes] = []
    with newcomers(xmpp_server, 1) as (one,):
        xmpp.observe(lambda direction, data: said.append(direction.encode() + data))
        one.close()
        one.connect()
        one.kill()
        xmpp.observe(None)
    goodbyes = [data for data in said if b"</stream:stream>" in data]
    assert [data[:1] for data in goodbyes] == [b">", b"<"], "ours and the server's"


@pytest.mark.parametrize("wrong", ["", "@localhost", "user@", "a@b@"])
def test_an_invalid_jid_is_refused_at_once(wrong: str) -> None:
    with pytest.raises(UsageError, match="is no JID"):
        xmpp.Client(wrong, "p")


def test_a_connected_client_cannot_connect_again(xmpp_server: XmppServer) -> None:
    with online(xmpp_server, 1) as (one,):
        with pytest.raises(UsageError, match="is connected already"):
            one.connect()
        one.ping()


def test_a_stored_message_is_delivered_late_without_a_delivery_time(
    ejabberd: XmppServer,
) -> None:
    with newcomers(ejabberd, 2) as (one, two):
        two.close()
        one.send_tracked(two.bare, "for later")
        one.ping()
        two.connect()
        assert two.wait_for("message", 5).body == "for later"
    taken = metrics.recorder.take()
    assert (taken.counters["messages sent"], taken.counters["messages delivered"]) == (1, 1)
    assert taken.counters["messages delayed"] == 1
    assert "xmpp message delivery" not in taken.operations
