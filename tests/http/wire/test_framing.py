"""A table of responses: where each one ends, and whether its connection is reusable."""

import gzip

import pytest

from amoc_gevent import http, metrics
from amoc_gevent.http.wire import leniency
from tests.transport.scripted import Scripted, always, answers, in_pieces, response

OK = response(b"ok")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


def exchange_twice(answer, method="GET", lasts=True):
    """Send two requests. Return both responses and the number of connections."""
    with Scripted(answers(answer, OK) if lasts else answers(answer), answers(OK)) as server:
        with http.Session(server.url) as session:
            first, second = session.request(method, "/"), session.get("/")
        return first, second, server.connections


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (response(b"hello"), b"hello"),
        (response(b""), b""),
        (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (CHUNKED + b"\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!"),
        (CHUNKED + b"\r\n5;name=value\r\nhello\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", b"hello"),
        (CHUNKED + b"Content-Encoding: gzip\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
         % (len(gzip.compress(b"hello")), gzip.compress(b"hello")), b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", b""),
        (CONTINUE + response(b"hello"), b"hello"),
        (HINTS + CONTINUE + HINTS + response(b"hello"), b"hello"),
        (CONTINUE + b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)  # fmt: skip
def test_a_framed_response_leaves_the_connection_reusable(answer, body):
    first, second, connections = exchange_twice(answer)
    assert first.content == body
    assert second.text == "ok"
    assert connections == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (response(b"hello", "200 OK", "Connection: close"), b"hello"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b""),
        (response(b"hello") + b"surplus", b"hello"),
        (response(b"hello") + response(b"unasked"), b"hello"),
        (response(b"hello") + b"H", b"hello"),
        (CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", b"hello"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx", b""),
    ],
)
def test_after_a_response_without_framing_the_next_request_connects_again(answer, body):
    first, second, connections = exchange_twice(answer, lasts=False)
    assert first.content == body
    assert second.text == "ok"
    assert connections == 2


HELLO = b"5\r\nhello\r\n0\r\n\r\n"
OK_LINE = b"HTTP/1.1 200 OK\r\n"
LENIENT = [
    (OK_LINE + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", "folded line"),
    (OK_LINE + b"X: a \t\r\n\t\r\n  b\r\nContent-Length: 5\r\n\r\nhello", "folded line"),
    (OK_LINE + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "repeated Content-Length"),
    (OK_LINE + b"Content-Length: 5, 5\r\n\r\nhello", "repeated Content-Length"),
    (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "bare line feed"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\nhello", "bare line feed"),
    (b"HTTP/1.1 200 OK\nContent-Length: 12\n\nhell\r\n\r\nhell", "bare line feed"),
    (OK_LINE + b"X: a\0b\x01c\rd\x7f\r\nContent-Length: 5\r\n\r\nhello", "control character"),
    (
        CHUNKED.replace(b"chunked", b"chunked, Identity") + b"\r\n" + HELLO,
        "transfer coding identity",
    ),
    (b"HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello", "version above HTTP/1.1"),
    (CHUNKED + b"\r\n5  \r\nhello\r\n0 \r\n\r\n", None),
    (CHUNKED + b"\r\n0005\r\nhello\r\n0000\r\n\r\n", None),
]


def lenient():
    """Return the counted rules that responses broke."""
    counters = metrics.recorder.take().counters
    return {name.removeprefix("http lenient: "): n for name, n in counters.items()}


@pytest.mark.parametrize(("answer", "rule"), LENIENT)
def test_a_response_that_breaks_a_rule_but_has_one_meaning_is_read_and_counted(answer, rule):
    first, second, connections = exchange_twice(answer)
    assert first.content.startswith(b"hell")
    assert (second.text, connections) == ("ok", 1)
    assert lenient() == ({rule: 1} if rule else {})
    with Scripted(in_pieces(answer, 1)) as server, http.Session(server.url) as session:
        assert session.get("/").content == first.content
    first, second, connections = exchange_twice(answer.partition(b"hell")[0], "HEAD")
    assert (first.content, second.text) == (b"", "ok")


def test_fields_of_a_lenient_response_are_as_they_were_meant():
    answer = OK_LINE + b"X: a\r\n b\r\nY: c\0d\r\nContent-Length: 0\r\n\r\n"
    first, _, _ = exchange_twice(answer)
    assert (first.headers["X"], first.headers["Y"]) == ("a b", "c d")
    assert lenient() == {"folded line": 1, "control character": 1}


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + b"Content-Length: 3\r\n\r\n" + HELLO,
        OK_LINE + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_after_a_coding_beside_a_length_the_connection_is_not_used_again(answer):
    first, second, connections = exchange_twice(answer, lasts=False)
    assert (first.content, second.text, connections) == (b"hello", "ok", 2)
    assert lenient()["Content-Length beside Transfer-Encoding"] == 1
    assert "Connection" not in first.headers


def test_after_a_coding_of_http_1_0_the_connection_is_not_used_again():
    answer = CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Connection: keep-alive\r\n\r\n" + HELLO
    first, second, connections = exchange_twice(answer, lasts=False)
    assert (first.content, second.text, connections) == (b"hello", "ok", 2)


def test_a_coding_whose_name_only_ends_in_chunked_ends_with_the_stream():
    answer = OK_LINE + b"Transfer-Encoding: xchunked\r\n\r\nuntil the end"
    first, _, _ = exchange_twice(answer, lasts=False)
    assert first.content == b"until the end"


def test_a_megabyte_of_blanks_in_a_head_is_read_in_linear_time():
    head = OK_LINE + b"X:" + b" " * 900_000 + b"\x01\r\nContent-Length: 5"
    assert leniency.rewritten(head)[1] == ["control character"]


@pytest.mark.parametrize(
    "answer",
    [
        OK_LINE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        OK_LINE + b"Content-Length: 5, 6\r\n\r\nhello!",
        OK_LINE + b"Content-Length: 5\r\n ,6\r\n\r\nhello!",
        OK_LINE + b"Content-Length: -5\r\n\r\nhello",
        OK_LINE + b"Content-Length: 0x5\r\n\r\nhello",
        OK_LINE + b"Content-Length: +5, +5\r\n\r\nhello",
        OK_LINE + b"Content-Length : 5\r\n\r\nhello",
        OK_LINE + b" folded: first\r\nContent-Length: 5\r\n\r\nhello",
        CHUNKED + b"\r\n5\nhello\n0\n\n",
        CHUNKED + b"\r\n 5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/3.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_a_response_that_can_be_read_in_two_ways_is_an_error(answer):
    with (
        Scripted(answers(answer)) as server,
        http.Session(server.url) as session,
        pytest.raises(http.InvalidResponse),
    ):
        session.get("/")
    assert lenient() == {}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nX-A: b\r\n\r\n",
        CHUNKED + b"\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        CONTINUE + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\n",
    ],
)
def test_the_answer_to_head_ends_with_its_head(answer):
    first, second, connections = exchange_twice(answer, "HEAD")
    assert first.content == b""
    assert second.text == "ok"
    assert connections == 1


def test_a_body_after_the_answer_to_head_closes_the_connection():
    first, second, connections = exchange_twice(response(b"wrong"), "HEAD", lasts=False)
    assert (first.content, second.text, connections) == (b"", "ok", 2)


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize(
    "answer",
    [
        CONTINUE + response(b"hello"),
        CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    ],
)
def test_a_response_may_arrive_in_any_pieces(answer, size):
    with Scripted(in_pieces(answer, size)) as server, http.Session(server.url) as session:
        assert session.get("/").text == "hello"


def test_a_hundred_responses_share_a_connection():
    with Scripted(always(OK)) as server, http.Session(server.url) as session:
        assert {session.get("/").text for _ in range(100)} == {"ok"}
        assert server.connections == 1


def test_a_megabyte_arrives_whole():
    body = bytes(range(256)) * 4096
    with Scripted(answers(response(body))) as server, http.Session(server.url) as session:
        assert session.get("/").content == body


def test_a_body_of_exactly_the_limit_is_allowed():
    with Scripted(always(response(bytes(5000)))) as server, http.Session(server.url) as session:
        session.max_response_size = 5000
        assert len(session.get("/").content) == 5000
        session.max_response_size = 4999
        with pytest.raises(http.InvalidResponse, match="response too large"):
            session.get("/")


def test_an_answer_before_the_body_was_read_is_the_response():
    def refuses(sock):
        sock.sendall(response(b"no", "413 Content Too Large", "Connection: close"))

    with Scripted(refuses, always(OK)) as server, http.Session(server.url) as session:
        assert session.post("/", data=bytes(32 << 20)).status_code == 413
        assert session.get("/").text == "ok"
        assert server.connections == 2


def test_an_answer_before_the_body_was_read_leaves_no_reusable_connection():
    def refuses(sock):
        sock.sendall(response(b"no", "413 Content Too Large"))

    with Scripted(refuses, always(OK)) as server, http.Session(server.url) as session:
        assert session.put("/", data=bytes(32 << 20)).status_code == 413
        assert session.get("/").text == "ok"
        assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "OK"),
        (b"HTTP/1.1 299 Two Words\r\nContent-Length: 0\r\n\r\n", 299, "Two Words"),
        (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, ""),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, ""),
    ],
)
def test_status_and_reason_are_those_of_the_response(answer, status, reason):
    with Scripted(answers(answer)) as server, http.Session(server.url) as session:
        got = session.get("/")
    assert (got.status_code, got.reason) == (status, reason)
