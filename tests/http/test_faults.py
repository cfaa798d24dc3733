"""Every fault of a target: its kind, its exception, and that it is counted once."""

import gzip

import gevent
import pytest
import requests

from amoc_gevent import clock, http
from tests.transport.scripted import (
    Scripted,
    answers,
    in_pieces,
    reads_then,
    refused_port,
    resets,
    response,
    stays_silent,
)

BOMB = gzip.compress(bytes(1 << 20))
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def only(operations):
    """Return the count and the error kinds of the only operation."""
    (operation,) = operations.values()
    return operation.count, operation.errors, operation.error_groups


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (answers(b""), "connection closed"),
        (reads_then(resets), "connection reset"),
        (answers(HALF), "incomplete response"),
        (answers(HALF, then=resets), "connection reset"),
        (answers(b"HTTP/1.1 200 OK\r\nContent-Le"), "incomplete response"),
        (answers(CHUNKED + b"5\r\nhel"), "incomplete response"),
        (answers(CHUNKED + b"5\r\nhello\r\n"), "incomplete response"),
        (answers(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"), "invalid response"),
        (answers(b"SSH-2.0-OpenSSH_9.2\r\n", then=stays_silent), "invalid response"),
        (answers(b"\x16\x03\x01 garbage\r\n\r\n\0"), "invalid response"),
        (answers(b"HTTP/1.1 abc OK\r\n\r\n"), "invalid response"),
        (answers(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), "invalid response"),
        (answers(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), "invalid response"),
        (answers(b"HTTP/1.1 200 OK\nno colon\n\n"), "invalid response"),
        (answers(b"HTTP/1.1 100 Continue\r\n\r\n" * 200), "invalid response"),
        (answers(response(b"not gzip", "200 OK", "Content-Encoding: gzip")), "invalid response"),
        (answers(response(BOMB, "200 OK", "Content-Encoding: gzip")), "response too large"),
        (answers(response(bytes(100_001))), "response too large"),
        (answers(CHUNKED + b"fffff\r\n" + bytes(1 << 20)), "response too large"),
        (answers(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (2 << 20)), "response too large"),
        (reads_then(stays_silent), "read time-out"),
        (answers(HALF, then=stays_silent), "read time-out"),
    ],
)
def test_a_fault_is_recorded_once_under_its_kind_and_raised(handler, kind, recorded):
    with Scripted(handler) as server, http.Session(server.url, timeout=(5, 0.1)) as session:
        session.max_response_size = 100_000
        with pytest.raises(http.RequestError) as raised:
            session.get("/page")
    assert raised.value.kind == kind
    assert "\n" not in str(raised.value)
    operations = recorded()
    assert list(operations) == ["GET /page"]
    assert only(operations) == (1, 1, {kind: 1})
    assert server.connections == len(server.requests) == 1


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (answers(b""), "connection closed"),
        (reads_then(resets), "connection reset"),
        (answers(HALF), "incomplete response"),
        (answers(CHUNKED + b"5\r\nhel"), "incomplete response"),
        (answers(CHUNKED + b"5\r\nhello\r\n"), "incomplete response"),
        (answers(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"), "invalid response"),
        (answers(b"\x16\x03\x01 garbage\r\n\r\n\0"), "invalid response"),
        (answers(response(b"not gzip", "200 OK", "Content-Encoding: gzip")), "invalid response"),
        (reads_then(stays_silent), "read time-out"),
    ],
)
def test_requests_session_counts_faults_under_the_same_kinds(handler, kind, recorded, in_thread):
    with (
        Scripted(handler) as server,
        http.RequestsSession(server.url, timeout=(5, 0.3)) as session,
        pytest.raises(requests.RequestException),
    ):
        in_thread(session.get, "/page")
    operations = recorded()
    assert list(operations) == ["GET /page"]
    assert only(operations) == (1, 1, {kind: 1})


@pytest.fixture
def in_thread():
    """Call a blocking function while the hub runs the scripted server."""
    pool = gevent.get_hub().threadpool
    return lambda function, *args: pool.apply(function, args)


@pytest.mark.parametrize(
    ("url", "kind", "exception"),
    [
        ("http://127.0.0.1:{refused}/page", "connection refused", "ConnectionError"),
        ("http://no-such-name.invalid/page", "name not found", "ConnectionError"),
    ],
)
def test_both_clients_count_an_unreachable_target_alike(client, url, kind, exception, recorded):
    module = http if client is http.Session else requests
    with client() as session, pytest.raises(getattr(module, exception)):
        session.get(url.format(refused=refused_port()))
    operations = recorded()
    assert list(operations) == ["GET /page"]
    assert only(operations) == (1, 1, {kind: 1})


@pytest.mark.parametrize(
    ("kind", "handler", "exception"),
    [
        ("connection refused", None, http.ConnectionError),
        ("connection reset", reads_then(resets), http.ConnectionError),
        ("read time-out", reads_then(stays_silent), http.ReadTimeout),
        ("incomplete response", answers(HALF), http.InvalidResponse),
    ],
)
def test_exceptions_have_the_names_that_users_of_requests_know(kind, handler, exception):
    with Scripted(handler or stays_silent) as server:
        url = server.url if handler else f"http://127.0.0.1:{refused_port()}"
        with http.Session(url, timeout=0.1) as session, pytest.raises(exception) as raised:
            session.get("/")
    assert raised.value.kind == kind
    assert isinstance(raised.value, http.RequestError)
    assert raised.value.__cause__ is None


def test_a_total_timeout_ends_a_slow_response_that_no_read_timeout_ends(recorded):
    def drips(sock):
        sock.sendall(HALF)
        while True:
            sock.sendall(b"x")
            gevent.sleep(0.02)

    with Scripted(reads_then(drips)) as server, http.Session(server.url) as session:
        began = clock.monotonic()
        with pytest.raises(http.Timeout, match="total time-out"):
            session.get("/", timeout=(5, 5, 0.15))
        assert clock.monotonic() - began >= 0.15
    assert only(recorded()) == (1, 1, {"total time-out": 1})


def test_a_total_timeout_covers_all_redirects():
    def slow_redirect(sock):
        gevent.sleep(0.05)
        sock.sendall(response(b"", "302 Found", "Location: /again"))

    def handler(sock):
        while True:
            reads_then(slow_redirect)(sock)

    with (
        Scripted(handler) as server,
        http.Session(server.url, timeout=(5, 5, 0.18)) as session,
        pytest.raises(http.Timeout, match="total time-out"),
    ):
        session.get("/")
    assert 2 <= len(server.requests) <= 5


def test_a_slow_response_within_its_timeout_is_complete():
    answer = response(b"drop by drop", "200 OK", "X-Slow: yes")
    with Scripted(in_pieces(answer)) as server, http.Session(server.url) as session:
        got = session.get("/")
    assert (got.text, got.headers["x-slow"]) == ("drop by drop", "yes")
    assert got.total_us > got.first_byte_us


def test_after_a_fault_the_next_request_has_a_new_connection():
    with (
        Scripted(answers(HALF), answers(response(b"fine"))) as server,
        http.Session(server.url) as session,
    ):
        with pytest.raises(http.RequestError):
            session.get("/")
        assert session.get("/").text == "fine"
    assert server.connections == 2


def test_one_users_fault_does_not_affect_others(recorded):
    with Scripted(*[answers(HALF), answers(response(b"fine"))] * 5) as server:

        def user():
            with http.Session(server.url) as session:
                return session.get("/").text

        users = [gevent.spawn(user) for _ in range(10)]
        gevent.joinall(users)
    assert sum(user.value == "fine" for user in users) == 5
    assert only(recorded()) == (10, 5, {"incomplete response": 5})


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.get("no-slash"),
        lambda s: s.get("ftp://h/"),
        lambda s: s.get("/a\r\nX: y"),
        lambda s: s.request("GET\r\nX: y", "/"),
        lambda s: s.get("/", headers={"X": "a\r\nY: b"}),
        lambda s: s.get("/", headers={"X\r\nY": "b"}),
        lambda s: s.get("/", cookies={"a": "b\r\nX: y"}),
        lambda s: s.get("/", headers={"Host": "h\r\nX: y"}),
    ],
)
def test_an_invalid_request_is_refused_in_one_line_and_not_sent(ask, recorded):
    with (
        Scripted(stays_silent) as server,
        http.Session(server.url) as session,
        pytest.raises(http.RequestError) as raised,
    ):
        ask(session)
    assert raised.value.kind in {"invalid URL", "invalid header"}
    assert "\n" not in str(raised.value)
    assert server.connections == 0
    assert only(recorded()) == (1, 1, {raised.value.kind: 1})
