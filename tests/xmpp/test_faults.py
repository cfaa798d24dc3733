"""Server faults: each is counted once, under its operation and kind, and nothing leaks."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gevent
import pytest

from amoc_gevent import clock, metrics, xmpp
from amoc_gevent.demo.xmpp import Faults
from amoc_gevent.demo.xmpp import XmppServer as DemoServer
from tests.leaks import connections_to, counting_from_now, nothing_leaks
from tests.servers import Authority, wait_for
from tests.transport.scripted import Scripted, refused_port, resets, stays_silent
from tests.xmpp.clients import newcomers, where
from tests.xmpp.scripted_server import ENDS, HEADER, LOGIN, STEPS, client, passes_on, says
from tests.xmpp_servers import XmppServer

SHORT = 0.3
KINDS = {"close": "connection closed", "reset": "connection reset", "silence": "time-out"}
ERROR = (
    "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
    "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>good night</text></stream:error>"
)


def errors() -> dict[str, dict[str, int]]:
    """Return the failed operations with their error counts by kind."""
    operations = metrics.recorder.take().operations
    return {name: o.error_groups for name, o in operations.items() if o.errors}


def fails(
    one: xmpp.Client, operation: str, kind: str, act: Callable[[], object] | None = None
) -> xmpp.XmppError:
    """Connect, or call `act`; assert that exactly this operation fails with this kind.

    The connection must be closed then, while the client still exists.
    """
    with pytest.raises(xmpp.XmppError) as raised, gevent.Timeout(20):
        (act or one.connect)()
    assert raised.value.kind == kind
    assert "\n" not in str(raised.value)
    assert errors() == {operation: {kind: 1}}
    assert not one.connected
    assert connections_to(one.server.port) == 0
    return raised.value


@pytest.fixture(autouse=True)
def _leaks(request: pytest.FixtureRequest, refused: int) -> Iterator[None]:
    """Assert that each test releases everything. Shared servers are started before."""
    for lasting in {"xmpp_server", "ca"} & set(request.fixturenames):
        request.getfixturevalue(lasting)
    with nothing_leaks():
        yield


@pytest.fixture(scope="module", autouse=True)
def refused() -> Iterator[int]:
    """Yield a port on which nobody listens.

    It also creates what the process keeps: the resolver's threads and a timestamping socket.
    """
    port = refused_port()
    for one in (client(port), unknown_host()):
        with pytest.raises(xmpp.XmppError):
            one.connect()
    metrics.recorder.reset()
    with counting_from_now():
        yield port


def unknown_host() -> xmpp.Client:
    """Return a client for a host name that does not exist."""
    return xmpp.Client("user_1@localhost", "p", xmpp.Server("no-such-host.invalid", timeout=10))


@pytest.mark.parametrize("sasl", ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_a_wrong_password(xmpp_server: XmppServer, sasl: str) -> None:
    one = xmpp.Client(xmpp_server.jid(1), "wrong", where(xmpp_server), sasl=sasl)
    fails(one, "xmpp auth", "authentication: not-authorized")
    assert not one.connected


def test_a_user_who_does_not_exist(xmpp_server: XmppServer) -> None:
    one = xmpp.Client(f"nobody@{xmpp_server.domain}", "wrong", where(xmpp_server))
    fails(one, "xmpp auth", "authentication: not-authorized")


def test_a_mechanism_that_the_server_does_not_have(xmpp_server: XmppServer) -> None:
    one = xmpp.Client(xmpp_server.jid(1), "any", where(xmpp_server), sasl="EXTERNAL")
    error = fails(one, "xmpp auth", "authentication: no-mechanism")
    assert "SCRAM-SHA-1" in str(error), "the error names the offered ones"


def test_an_unknown_host() -> None:
    fails(unknown_host(), "xmpp connect", "name not found")


def test_a_domain_that_the_server_does_not_serve(xmpp_server: XmppServer) -> None:
    one = xmpp.Client("user_1@elsewhere.example", "any", where(xmpp_server))
    fails(one, "xmpp stream", "stream error: host-unknown")


def test_a_port_on_which_nobody_listens(refused: int) -> None:
    fails(client(refused), "xmpp connect", "connection refused")


@pytest.fixture
def expired(ca: Authority) -> Iterator[DemoServer]:
    """A server whose certificate expired yesterday."""
    yesterday = datetime.fromtimestamp(clock.wall(), UTC) - timedelta(days=1)
    context = ca.server_context()
    ca.ca.issue_cert("localhost", not_after=yesterday).configure_cert(context)
    with DemoServer(context=context) as server:
        yield server


@pytest.fixture
def misnamed(ca: Authority) -> Iterator[DemoServer]:
    """A server whose certificate is for another domain."""
    with DemoServer(context=ca.server_context("elsewhere.example")) as server:
        yield server


def secured(server: DemoServer, tls: str, verify: object) -> xmpp.Client:
    """Return a client that uses TLS."""
    host, port = server.address
    there = xmpp.Server(host, port, tls=tls, verify=verify, timeout=10)
    return xmpp.Client("user_1@localhost", "password_1", there)


@pytest.mark.parametrize("tls", ["starttls", "direct"])
@pytest.mark.parametrize(
    ("which", "kind"),
    [
        ("expired", "TLS: certificate has expired"),
        ("misnamed", "TLS: Hostname mismatch, certificate is not valid for 'localhost'"),
    ],
)
def test_a_wrong_certificate(
    request: pytest.FixtureRequest, ca: Authority, which: str, kind: str, tls: str
) -> None:
    server = request.getfixturevalue(which)
    fails(secured(server, tls, str(ca.file)), "xmpp tls", kind)
    assert server.counts["logins"] == 0
    with secured(server, tls, False) as one:  # without verification
        one.ping()


@pytest.mark.parametrize("tls", ["starttls", "direct"])
def test_a_certificate_of_an_unknown_authority(xmpp_server: XmppServer, tls: str) -> None:
    one = xmpp.Client(xmpp_server.jid(1), "any", where(xmpp_server, tls, verify=True))
    kind = "TLS: unable to get local issuer certificate"
    fails(one, "xmpp tls", kind)


@pytest.mark.parametrize("option", ["verify", "cert"])
def test_a_missing_or_broken_certificate_file(ca: Authority, option: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with DemoServer(context=ca.server_context()) as server:
        host, port = server.address
        for file, kind in (("missing", "unreadable"), (broken, "unusable")):
            there = xmpp.Server(host, port, timeout=10, **{option: str(file)})
            one = xmpp.Client("user_1@localhost", "password_1", there)
            fails(one, "xmpp tls", f"TLS: {kind} certificate file")


def test_a_server_without_starttls() -> None:
    with DemoServer() as server:
        there = secured(server, "starttls", True)
        error = fails(there, "xmpp tls", "TLS: the server offers no STARTTLS")
    assert 'tls="none" or "direct" may be right' in str(error)


@pytest.mark.parametrize("step", range(len(LOGIN)))
@pytest.mark.parametrize("end", ENDS)
def test_a_server_that_fails_in_a_step_of_the_login(step: int, end: str) -> None:
    with Scripted(says(LOGIN[:step], ENDS[end])) as server:
        one = client(server.port, SHORT if end == "silence" else 10.0)
        fails(one, STEPS[step], KINDS[end])


TLS_STEPS = {
    "connect": "xmpp stream",  # the kernel has accepted it by then
    "stream": "xmpp stream",
    "starttls": "xmpp tls",
    "tls": "xmpp tls",
    "auth": "xmpp auth",
    "bind": "xmpp bind",
}


@pytest.mark.parametrize("step", TLS_STEPS)
@pytest.mark.parametrize("fault", ["cut", "silent", "malformed"])
def test_a_fault_in_a_step_of_a_login_over_tls(ca: Authority, step: str, fault: str) -> None:
    kinds = {"cut": "connection reset", "silent": "time-out"}
    kind = kinds.get(fault, "stream error: not-well-formed")
    if (fault, step) == ("malformed", "tls"):
        kind = "TLS: wrong version number"
    with DemoServer(context=ca.server_context()) as server:
        server.faults = Faults(**{f"{fault}_at": step})
        host, port = server.address
        seconds = SHORT if fault == "silent" else 10
        there = xmpp.Server(host, port, verify=str(ca.file), timeout=seconds)
        one = xmpp.Client("user_1@localhost", "password_1", there)
        fails(one, TLS_STEPS[step], kind)
        wait_for(lambda: server.counts["login_faults"][fault] == 1, what="the fault's count")


WRONG = {
    "broken XML": ("<a><b></a>", "stream error: not-well-formed"),
    "no XML": ("HTTP/1.1 400 Bad Request\r\n\r\n", "stream error: not-well-formed"),
    "entities": ("<a>&bomb;</a>", "stream error: not-well-formed"),
    "a byte that is no UTF-8": ("<a>\udcff</a>", "stream error: not-well-formed"),
    "a stream error": (ERROR, "stream error: system-shutdown"),
    "the end of the stream": ("</stream:stream>", "stream closed"),
    "10 MB": ("<a>" + "x" * 10_000_000 + "</a>", "stream error: policy-violation"),
    "10 MB of elements": ("<a>" + "<b/>" * 2_500_000, "stream error: policy-violation"),
    "10 MB of attribute": ("<a b='" + "x" * 10_000_000, "stream error: policy-violation"),
}
"""Data sent instead of the expected stream features, and the resulting kind of error."""


@pytest.mark.parametrize("what", WRONG)
def test_invalid_data_instead_of_features(what: str) -> None:
    said, kind = WRONG[what]

    def answers(sock: object) -> None:
        sock.recv(65536)
        header = "" if what == "no XML" else HEADER
        sock.sendall((header + said).encode(errors="surrogateescape"))
        stays_silent(sock)

    with Scripted(answers) as server:
        error = fails(client(server.port), "xmpp stream", kind)
    if what == "a stream error":
        assert str(error) == "system-shutdown: good night"


# Text between stanzas breaks nothing, and it is not an answer.
@pytest.mark.parametrize("what", [what for what in WRONG if what != "no XML"])
def test_invalid_data_instead_of_an_answer_to_a_request(what: str) -> None:
    said, kind = WRONG[what]
    with Scripted(says(LOGIN, then=lambda sock: speaks(sock, said))) as server:
        one = client(server.port).connect(presence=False)
        fails(one, "iq get urn:a", kind, lambda: one.iq("<a xmlns='urn:a'/>"))
        with pytest.raises(xmpp.XmppError) as raised:
            one.send_message("user_2@localhost", "too late")
        assert raised.value.kind == kind, "the error that ended the connection is kept"


def speaks(sock: object, text: str) -> None:
    """Send text and keep the connection open."""
    sock.sendall(text.encode(errors="surrogateescape"))
    stays_silent(sock)


def test_a_document_type_is_refused_before_its_entities_expand() -> None:
    bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
    for piece in (0, 1):
        start = HEADER.replace("<stream:stream", f"{bomb}<stream:stream")
        with Scripted(says([f"{start}<stream:features>&b;</stream:features>"], piece=piece)) as it:
            fails(client(it.port), "xmpp stream", "stream error: restricted-xml")


@pytest.mark.parametrize(
    "answer",
    [
        "<message><body>first</body></message><success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<iq type='result' id='unasked'/><success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    ],
)
def test_an_early_stanza_does_not_disturb_the_login(answer: str) -> None:
    script = (LOGIN[0], answer, *LOGIN[2:])
    with Scripted(says(script)) as server:
        one = client(server.port).connect()
        assert one.connected
        one.kill()
    assert errors() == {}


@pytest.mark.parametrize(
    ("step", "answer", "kind"),
    [
        (0, f"{HEADER}<proceed xmlns='urn:x'/>", "stream error: unsupported-stanza-type"),
        (1, "<proceed xmlns='urn:x'/>", "stream error: unsupported-stanza-type"),
        (
            1,
            (
                "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><account-disabled/>"
                "<text>no more</text></failure>"
            ),
            "authentication: account-disabled",
        ),
        (
            1,
            "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",  # PLAIN has none
            "authentication: incorrect-challenge",
        ),
        (3, "<iq type='result' id='{id}'/>", "undefined-condition"),
        (
            3,
            (
                "<iq type='error' id='{id}'><error type='wait'><resource-constraint "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
            ),
            "resource-constraint",
        ),
        (4, "<iq type='error' id='{id}'/>", "undefined-condition"),
    ],
)
def test_an_unexpected_answer(step: int, answer: str, kind: str) -> None:
    with Scripted(says((*LOGIN[:step], answer))) as server:
        fails(client(server.port), STEPS[step], kind)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_server_that_disconnects_while_a_user_waits_sends_and_asks(end: str) -> None:
    gone = gevent.event.Event()

    def leaves(sock: object) -> None:
        gone.wait()
        sock.recv(65536)  # unread data would make the kernel reset the connection
        ENDS[end](sock)

    with Scripted(says(LOGIN, leaves, after=" ")) as server:
        one = client(server.port).connect(presence=False)
        calls = [
            gevent.spawn(one.wait_for, "message", 10),
            gevent.spawn(one.iq, "<a xmlns='urn:a'/>"),
            gevent.spawn(one.exchange, "<presence/>", lambda _: False, name="presence"),
        ]
        gevent.sleep(0)
        gone.set()
        gevent.joinall(calls, timeout=5)
        assert [call.exception.kind for call in calls] == [KINDS[end]] * 3
        with pytest.raises(xmpp.Disconnected):
            one.send_message("user_2@localhost", "too late")
    assert errors() == {"iq get urn:a": {KINDS[end]: 1}, "presence": {KINDS[end]: 1}}


def test_a_send_times_out_if_the_server_reads_nothing() -> None:
    with Scripted(says(LOGIN, after=" ")) as server:
        one = client(server.port, SHORT).connect(presence=False)
        with pytest.raises(xmpp.XmppTimeout, match="no room to send"):
            send_much(one)
        one.kill()


def test_close_times_out_if_the_server_does_not_close() -> None:
    with Scripted(says(LOGIN, after=" ")) as server:
        one = client(server.port).connect(presence=False)
        with gevent.Timeout(10):
            one.close(0.05)
        assert not one.connected
        assert connections_to(server.port) == 0
    assert errors() == {}


def send_much(one: xmpp.Client) -> None:
    """Send stanzas of 10 MB, then wait for a message."""
    for _ in range(20):
        one.send_message("user_2@localhost", "x" * 10_000_000)
    one.wait_for("message", 10)


def test_a_stanza_of_10_mb_is_accepted_if_allowed() -> None:
    body = "x" * 10_000_000
    message = f"<message from='a@localhost'><body>{body}</body></message>"
    with Scripted(says(LOGIN, after=message)) as server:
        one = client(server.port, stanza_max=11_000_000).connect(presence=False)
        assert one.wait_for("message").body == body
        one.kill()


def test_stanzas_split_at_every_byte_arrive_intact() -> None:
    messages = (
        "<message from='a@localhost' id='ü'><body>schön &amp; 'gut'</body></message> \n"
        "<message/><message><body>&#x1F426;🐦</body><x xmlns='urn:x' a=\">\"/></message>"
    )
    with Scripted(says(LOGIN, piece=1, after=messages)) as server:
        one = client(server.port).connect(presence=False)
        first, empty, last = (one.wait_for("message", 5) for _ in range(3))
        one.kill()
    assert (first.body, first.id, first.sender) == ("schön & 'gut'", "ü", "a@localhost")
    assert (empty.body, len(empty)) == (None, 0)
    assert (last.body, last[1].get("a")) == ("🐦🐦", ">")
    assert errors() == {}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_login_over_tls_and_its_stanzas_in_pieces(ca: Authority, size: int) -> None:
    with (
        DemoServer(context=ca.server_context()) as target,
        Scripted(passes_on(target.address, size)) as between,
    ):
        there = xmpp.Server("127.0.0.1", between.port, verify=str(ca.file), timeout=30)
        with xmpp.Client("user_1@localhost", "password_1", there) as one:
            one.send_message(one.jid, "schön")
            assert one.wait_for("message", 20).body == "schön"
    assert errors() == {}


def test_a_newer_session_of_the_same_resource_ends_the_older(xmpp_server: XmppServer) -> None:
    with newcomers(xmpp_server, 1) as (older,):
        newer = xmpp.Client(older.jid, older.password, older.server, sasl="PLAIN")
        newer.connect()
        with pytest.raises(xmpp.StreamError) as raised:
            older.wait_for("message", 5)
        assert raised.value.kind == "stream error: conflict"
        newer.close()


def test_a_real_server_that_is_sent_10_mb_ends_the_stream(xmpp_server: XmppServer) -> None:
    with newcomers(xmpp_server, 1) as (one,):
        with pytest.raises(xmpp.Disconnected) as raised:
            send_much(one)
        assert raised.value.kind in {"stream error: policy-violation", "connection reset"}
        assert not one.connected


def test_a_real_server_that_is_sent_invalid_xml_ends_the_stream(xmpp_server: XmppServer) -> None:
    with newcomers(xmpp_server, 1) as (one,):
        one.send("<message><body>this & that</message>")
        with pytest.raises(xmpp.StreamError) as raised:
            one.wait_for("message", 5)
        assert raised.value.kind in {
            "stream error: not-well-formed",
            "stream error: xml-not-well-formed",
        }


def test_users_that_are_killed_in_the_middle_of_a_login_leave_nothing_behind() -> None:
    with Scripted(says(LOGIN[:2])) as server:
        users = [gevent.spawn(client(server.port).connect) for _ in range(50)]
        wait_for(lambda: server.connections == 50, what="all to be there")
        gevent.killall(users, timeout=5)
        assert all(user.dead for user in users)


def test_a_thousand_failed_logins_leave_nothing_behind() -> None:
    with Scripted(says(LOGIN[:1], resets)) as server:
        for _ in range(1000):
            with pytest.raises(xmpp.Disconnected):
                client(server.port).connect()
    assert errors() == {"xmpp auth": {"connection reset": 1000}}
