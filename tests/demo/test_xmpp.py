"""The demo XMPP server over raw sockets in this hub: logins, routing, faults and counts."""

import base64
import json
import re
import ssl
from collections.abc import Iterator
from typing import Any, Self

import gevent
import pytest
from gevent import socket
from gevent.ssl import SSLContext

from amoc_gevent.demo.xmpp import STEPS, AccountRegistry, Faults, XmppServer
from amoc_gevent.errors import AmocError
from tests.servers import Authority, wait_for

PATIENCE = 10.0
HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' to='localhost'"
    " xmlns:stream='http://etherx.jabber.org/streams'>"
)
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"


@pytest.fixture
def server() -> Iterator[XmppServer]:
    with XmppServer() as started:
        yield started


class Raw:
    """A plain connection. `until` reads up to a text and returns everything up to its end."""

    def __init__(self, server: XmppServer) -> None:
        self.sock: Any = socket.create_connection(server.address, timeout=PATIENCE)
        self.got = ""
        self.features = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, text: str) -> None:
        self.sock.sendall(text.encode())

    def until(self, end: str) -> str:
        while end not in self.got:
            data = self.sock.recv(65536)
            assert data, f"the end of the stream instead of {end!r}, after {self.got!r}"
            self.got += data.decode()
        found, _, self.got = self.got.partition(end)
        return found + end

    def rest(self) -> str:
        """Return all bytes until the server closes or resets the connection."""
        try:
            while data := self.sock.recv(65536):
                self.got += data.decode()
        except ConnectionResetError:
            self.got += "(reset)"
        return self.got

    def authenticate(self, user: str, password: str) -> str:
        self.send(HEADER)
        self.features = self.until("</stream:features>")
        said = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        self.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{said}</auth>")
        answer = self.until(">")
        return answer if answer.startswith("<success") else answer + self.until("</failure>")

    def login(self, number: int, resource: str = "r") -> Self:
        assert self.authenticate(f"user_{number}", f"password_{number}").startswith("<success")
        self.send(HEADER)
        self.until("</stream:features>")
        bind = f"<bind xmlns='{BIND}'><resource>{resource}</resource></bind>"
        self.send(f"<iq type='set' id='b'>{bind}</iq>")
        assert f"<jid>user_{number}@localhost/{resource}</jid>" in self.until("</iq>")
        return self

    def say(self, to: int, *bodies: object) -> None:
        """Send messages in one piece to resource r of the bare JID."""
        self.send(
            "".join(
                f"<message to='user_{to}@localhost/r' type='chat'><body>{body}</body></message>"
                for body in bodies
            )
        )

    def heard(self, count: int) -> list[str]:
        """Return the bodies of the next messages."""
        messages = [self.until("</message>") for _ in range(count)]
        return [re.findall("<body>(.*)</body>", message)[0] for message in messages]


@pytest.fixture
def pair(server: XmppServer) -> Iterator[tuple[Raw, Raw]]:
    """Users 1 and 2, logged in."""
    with Raw(server).login(1) as one, Raw(server).login(2) as two:
        yield one, two


def test_a_wrong_password_and_an_unknown_user_are_refused_and_counted(server: XmppServer) -> None:
    for user, password in [("user_1", "password_2"), ("nobody", "password_1"), ("user_1", "")]:
        with Raw(server) as raw:
            assert "<not-authorized/>" in raw.authenticate(user, password)
    assert (server.counts["refused"], server.counts["logins"]) == (3, 0)


def test_a_message_reaches_a_full_jid_with_its_true_sender(pair: tuple[Raw, Raw]) -> None:
    one, two = pair
    content = "<body>a &lt;b&gt; ü</body><x xmlns='urn:x' n='>'/>"
    one.send(f"<message id='1' from='user_9@localhost' to='user_2@localhost/r'>{content}</message>")
    got = two.until("</message>")
    assert content in got
    assert re.findall(r"from=[\"']([^\"']*)", got) == ["user_1@localhost/r"]


def test_a_message_split_at_every_byte_arrives_unchanged(pair: tuple[Raw, Raw]) -> None:
    one, two = pair
    text = "<message to='user_2@localhost/r' id=\"a>b\"><body>schön</body></message> \n<message "
    text += "to='user_2@localhost/r'/><message to='user_2@localhost/r'><body>end</body></message>"
    for byte in text.encode():
        one.sock.sendall(bytes([byte]))
        gevent.sleep(0)
    first = two.until("</message>")
    assert "<body>schön</body>" in first
    assert 'id="a>b"' in first
    assert two.until("/>").startswith("<message")
    assert "<body>end</body>" in two.until("</message>")


def test_messages_to_a_bare_jid_go_to_the_available_resource_of_highest_priority(
    server: XmppServer,
) -> None:
    with (
        Raw(server).login(1) as one,
        Raw(server).login(2, "phone") as phone,
        Raw(server).login(2, "desk") as desk,
        Raw(server).login(2, "silent"),
    ):
        phone.send("<presence><priority>5</priority></presence>")
        phone.until("</presence>")
        desk.send("<presence/>")
        phone.until("/>")
        one.send("<message to='user_2@localhost'><body>1</body></message>")
        assert phone.heard(1) == ["1"]
        phone.send("<presence type='unavailable'/>")
        desk.until("type='unavailable'/>")
        one.send("<message to='USER_2@localhost'><body>2</body></message>")
        assert desk.heard(1) == ["2"]


def test_an_undeliverable_message_is_bounced_but_an_undeliverable_error_is_not(
    server: XmppServer, pair: tuple[Raw, Raw]
) -> None:
    one, _ = pair
    one.send("<message type='error' to='user_3@localhost'/>")
    one.send("<message id='x' to='user_3@localhost'><body>1</body></message>")
    answer = one.until("</message>")
    assert answer.startswith('<message type="error" id="x" from="user_3@localhost">')
    assert "<service-unavailable" in answer
    one.send("<message to='juliet@example.com'><body>1</body></message>")
    assert "<remote-server-not-found" in one.until("</message>")
    assert server.counts["messages"]["undeliverable"] == 3


def test_neighbours_get_presence_and_unavailable_when_a_connection_ends() -> None:
    with (
        XmppServer(accounts=AccountRegistry(neighbours=1)) as server,
        Raw(server).login(2) as two,
        Raw(server).login(3) as three,
        Raw(server).login(5) as five,
    ):
        two.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        roster = two.until("</iq>")
        assert re.findall('jid="([^"]*)', roster) == ["user_1@localhost", "user_3@localhost"]
        for each in (five, two, three):
            each.send("<presence/>")
        assert 'from="user_2@localhost/r"' in three.until("/>") + three.until("/>")
        five.sock.close()
        two.until('from="user_3@localhost/r"/>')
        three.sock.close()
        assert two.until("/>") == "<presence from=\"user_3@localhost/r\" type='unavailable'/>"


def test_iqs_are_answered_routed_or_refused(pair: tuple[Raw, Raw]) -> None:
    one, two = pair
    one.send("<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
    assert one.until("</iq>") == '<iq type="result" id="p" from="localhost"></iq>'
    one.send("<iq type='get' id='u'><query xmlns='urn:unknown'/></iq>")
    assert "<service-unavailable" in one.until("</iq>")
    one.send("<iq type='get' id='q' to='user_2@localhost/r'><ping xmlns='urn:xmpp:ping'/></iq>")
    assert 'from="user_1@localhost/r"' in two.until("</iq>")
    two.send("<iq type='result' id='q' to='user_1@localhost/r'/>")
    assert 'from="user_2@localhost/r"' in one.until("/>")
    one.send("<iq type='get' id='n' to='user_2@localhost/no'><ping xmlns='urn:xmpp:ping'/></iq>")
    assert "<service-unavailable" in one.until("</iq>")


def test_an_account_is_registered_logs_in_and_is_removed(server: XmppServer) -> None:
    def register(raw: Raw, user: str) -> str:
        fields = f"<username>{user}</username><password>secret</password>"
        raw.send(f"<iq type='set' id='r'><query xmlns='jabber:iq:register'>{fields}</query></iq>")
        return raw.until("</iq>")

    with Raw(server) as raw:
        raw.send(HEADER)
        raw.until("</stream:features>")
        assert "<conflict" in register(raw, "user_1")
        assert "<not-acceptable" in register(raw, "a@b")
        assert 'type="result"' in register(raw, "juliet")
        assert "<conflict" in register(raw, "Juliet")
    with Raw(server) as raw:
        assert raw.authenticate("juliet", "secret").startswith("<success")
        raw.send(HEADER)
        raw.send(f"<iq type='set' id='b'><bind xmlns='{BIND}'/></iq>")
        raw.until("</iq>")
        raw.send("<iq type='set' id='x'><query xmlns='jabber:iq:register'><remove/></query></iq>")
        assert 'type="result" id="x"' in raw.until("</iq>")
        assert "<not-authorized" in raw.rest()
    with Raw(server) as raw:
        assert "<not-authorized/>" in raw.authenticate("juliet", "secret")
    assert server.counts["registered"] == 1


@pytest.mark.parametrize(
    ("said", "condition"),
    [
        (HEADER.replace("'localhost'", "'example.com'"), "host-unknown"),
        (HEADER.replace("jabber:client", "jabber:server"), "invalid-namespace"),
        ("<html>", "bad-format"),
        (HEADER + "<message></iq>", "not-well-formed"),
        ("<!DOCTYPE x>" + HEADER, "restricted-xml"),
        (HEADER + "<!-- -->", "restricted-xml"),
        (HEADER + "<message to='user_1@localhost'/>", "not-authorized"),
        (HEADER + "<enable xmlns='urn:xmpp:sm:3'/>", "unsupported-stanza-type"),
        (HEADER + "<message><body>" + "x" * 3000, "policy-violation"),
        (HEADER + "<iq id='" + "x" * 3000, "policy-violation"),
    ],
)
def test_invalid_xmpp_ends_the_stream_with_the_defined_condition(said: str, condition: str) -> None:
    with XmppServer(stanza_max=2000) as server, Raw(server) as raw, Raw(server).login(1) as other:
        raw.send(said)
        got = raw.rest()
        assert f"<stream:error><{condition} " in got
        assert got.endswith("</stream:stream>")
        other.send("<message to='user_1@localhost/r'><body>still there</body></message>")
        assert other.heard(1) == ["still there"]


def test_whitespace_between_stanzas_is_unlimited() -> None:
    with XmppServer(stanza_max=2000) as server, Raw(server).login(1) as one:
        for _ in range(100):
            one.send(" " * 100)
        one.say(1, "there")
        assert one.heard(1) == ["there"]


def test_a_newer_stream_of_the_same_resource_ends_the_older(server: XmppServer) -> None:
    with Raw(server).login(1) as older, Raw(server).login(1) as newer, Raw(server).login(2) as two:
        assert "<conflict " in older.rest()
        two.say(1, "hello")
        assert newer.heard(1) == ["hello"]


def test_a_closed_stream_is_closed_by_the_server_too(server: XmppServer) -> None:
    with Raw(server).login(1) as one, Raw(server).login(2) as two:
        one.send("</stream:stream>")
        assert one.rest() == "</stream:stream>"
        two.say(1, "too late")
        assert "<service-unavailable" in two.until("</message>")


@pytest.mark.parametrize("how", ["starttls", "direct"])
def test_one_port_accepts_starttls_and_direct_tls(ca: Authority, how: str) -> None:
    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca.file)
    with XmppServer(context=ca.server_context()) as server, Raw(server) as raw:
        if how == "starttls":
            raw.send(HEADER)
            assert "<starttls" in raw.until("</stream:features>")
            raw.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            raw.until("/>")
        raw.sock = context.wrap_socket(raw.sock, server_hostname="localhost")
        raw.login(1).say(1, "x" * 100_000)
        assert "<starttls" not in raw.features
        assert raw.heard(1) == ["x" * 100_000]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["silent", "cut", "malformed"])
def test_a_login_fails_at_the_step_with_a_fault(ca: Authority, step: str, kind: str) -> None:
    none = dict.fromkeys(("silent", "cut", "malformed"), 0)
    with XmppServer(context=ca.server_context()) as server, Raw(server) as raw:
        server.faults = Faults(**{f"{kind}_at": step})
        login = gevent.spawn(_log_in_by_steps, raw, step)
        wait_for(lambda: server.counts["login_faults"] == {**none, kind: 1}, what="the fault")
        if kind == "cut" or (kind, step) == ("malformed", "tls"):
            with pytest.raises((AssertionError, ConnectionError)):
                login.get(timeout=PATIENCE)
        elif kind == "malformed":
            wait_for(lambda: "this & that" in raw.got, what="broken XML")
        assert not login.successful()
        login.kill()


def _log_in_by_steps(raw: Raw, last: str) -> None:
    if last in ("starttls", "tls"):
        raw.send(HEADER)
        raw.until("</stream:features>")
        raw.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        assert raw.until("/>").startswith("<proceed"), "no proceed"
        if last == "tls":
            context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.wrap_socket(raw.sock, server_hostname="localhost")
            except ssl.SSLError:
                raise ConnectionError from None
        return
    raw.login(1)
    raw.send("<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
    assert raw.until(">").startswith("<iq "), "no result"


def balanced(counts: dict[str, int]) -> bool:
    """Return whether every message is accounted for."""
    ends = ("delivered", "dropped", "cut", "malformed", "undeliverable", "on_the_way")
    return counts["received"] + counts["duplicated"] == sum(counts[name] for name in ends)


def test_every_nth_message_is_dropped_duplicated_or_reordered_and_counted(
    server: XmppServer, pair: tuple[Raw, Raw]
) -> None:
    one, two = pair
    server.faults = Faults(drop=5, duplicate=4, reorder=3)
    one.say(2, *range(1, 101))
    counts = server.counts["messages"]
    wait_for(lambda: server.counts["messages"]["received"] == 100, what="all to come in")
    counts = wait_for(
        lambda: (found := server.counts["messages"])["on_the_way"] == 0 and found,
        what="the last one that was held",
    )
    assert (counts["dropped"], counts["duplicated"]) == (20, 20)
    heard = [int(body) for body in two.heard(counts["delivered"])]
    assert sorted(set(heard)) == [n for n in range(1, 101) if n % 5]
    assert len(heard) - len(set(heard)) == 20
    highest, overtaken = 0, set()
    for number in heard:
        overtaken |= {number} if number < highest else set()
        highest = max(highest, number)
    assert len(overtaken) == counts["reordered"] > 10
    assert balanced(counts)
    assert server.pairs == [{"from": "user_1@localhost", "to": "user_2@localhost", **counts}]


def test_a_held_message_that_is_not_overtaken_is_delivered_in_order(
    server: XmppServer, pair: tuple[Raw, Raw]
) -> None:
    one, two = pair
    server.faults = Faults(reorder=1)
    one.say(2, "only")
    assert two.heard(1) == ["only"]
    assert (server.counts["messages"]["reordered"], server.counts["messages"]["delivered"]) == (
        0,
        1,
    )


def test_delayed_messages_keep_their_order_and_count_as_on_the_way(
    server: XmppServer, pair: tuple[Raw, Raw]
) -> None:
    one, two = pair
    server.faults = Faults(delay=0.1)
    one.say(2, 1, 2)
    wait_for(lambda: server.counts["messages"]["on_the_way"] == 2, what="both to be delayed")
    server.faults = Faults()
    one.say(2, 3)
    assert two.heard(3) == ["1", "2", "3"]
    assert balanced(server.counts["messages"])


@pytest.mark.parametrize(("fault", "end"), [("cut", "(reset)"), ("malformed", "")])
def test_a_fault_can_break_the_recipients_stream_instead(
    server: XmppServer, pair: tuple[Raw, Raw], fault: str, end: str
) -> None:
    one, two = pair
    server.faults = Faults(**{fault: 2})
    one.say(2, "well", "broken")
    assert two.heard(1) == ["well"]
    if fault == "cut":
        assert two.rest() == end
    else:
        assert "this & that" in two.until("</message>")
    counts = server.counts["messages"]
    assert (counts["delivered"], counts[fault]) == (1, 1)
    assert balanced(counts)


def test_a_delayed_message_is_undeliverable_if_its_recipient_disconnects(
    server: XmppServer, pair: tuple[Raw, Raw]
) -> None:
    one, two = pair
    server.faults = Faults(delay=0.1)
    one.say(2, "too late")
    wait_for(lambda: server.counts["messages"]["on_the_way"] == 1, what="the delay")
    two.sock.close()
    wait_for(lambda: server.counts["messages"]["undeliverable"] == 1, what="its end")
    assert balanced(server.counts["messages"])


def test_a_slow_recipient_gets_everything(server: XmppServer, pair: tuple[Raw, Raw]) -> None:
    one, two = pair
    bodies = [f"{number}" * 30_000 for number in range(9)] * 20
    sender = gevent.spawn(one.say, 2, *bodies)
    wait_for(lambda: server.counts["messages"]["received"] == len(bodies), what="all to come in")
    sender.get(timeout=PATIENCE)
    assert two.heard(len(bodies)) == bodies


def page(server: XmppServer, method: str, path: str, body: str = "") -> tuple[int, Any]:
    """Return status and JSON of a page."""
    host, port = server.page_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as sock:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = sock.makefile("rb").read().decode()
    head, _, text = answer.partition("\r\n\r\n")
    return int(head.split()[1]), json.loads(text) if text else None


def test_pages_return_the_counts_and_change_the_faults(
    server: XmppServer, pair: tuple[Raw, Raw]
) -> None:
    one, two = pair
    assert page(server, "PUT", "/faults", '{"drop": 2}')[0] == 200
    one.say(2, 1, 2, 3)
    assert two.heard(2) == ["1", "3"]
    status, counts = page(server, "GET", "/count")
    assert status == 200
    assert (counts["online"], counts["logins"], counts["messages"]["dropped"]) == (2, 2, 1)
    assert page(server, "GET", "/pairs")[1] == server.pairs
    assert page(server, "DELETE", "/faults")[0] == 204
    assert page(server, "GET", "/faults")[1]["drop"] == 0
    assert page(server, "DELETE", "/count")[0] == 204
    assert server.counts["messages"]["received"] == 0
    status, said = page(server, "PUT", "/faults", '{"dorp": 2}')
    assert (status, said["error"][:15]) == (400, "no fault 'dorp'")
    assert page(server, "PUT", "/faults", "[]")[0] == 400
    assert page(server, "GET", "/other")[0] == 404


@pytest.mark.parametrize(
    "wrong", [{"drop": -1}, {"drop": 1.5}, {"delay": "x"}, {"silent_at": "never"}]
)
def test_an_invalid_fault_is_an_error_of_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(AmocError, match=rf"^fault {next(iter(wrong))}: .*$"):
        Faults().changed(wrong)


def test_all_sockets_are_closed_when_the_server_stops() -> None:
    server = XmppServer()
    with server, Raw(server).login(1) as one:
        server.stop()
        assert one.sock.recv(1) == b""
    with pytest.raises(AmocError, match="not started"):
        _ = server.address
