"""Any bytes in any pieces give a response or a RequestError."""

import gzip
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amoc_gevent.http import InvalidResponse
from amoc_gevent.http.wire import heads
from amoc_gevent.http.wire.connection import HttpConnection
from amoc_gevent.http.wire.target import RequestTarget, Route
from amoc_gevent.http.wire.urls import split
from amoc_gevent.transport import Peer, Transport, TransportError

ROUTE = Route(split("http://h"), Peer("h", 80))
GET, HEAD = (RequestTarget(method, ROUTE, "/", "/", b"Host: h\r\n") for method in ("GET", "HEAD"))


class Bytes:
    """A stream with these pieces that then ends."""

    peer = "h:80"
    sent = arrived = 0.0
    connect_us = 0
    tls_us = None

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def send(self, data: bytes) -> None:
        pass

    def receive(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def exchange(pieces: Iterable[bytes], target: RequestTarget = GET) -> tuple[Any, ...]:
    """Return the result for these pieces: status, body and reusability, or the error's kind."""
    connection = HttpConnection(cast("Transport", Bytes(pieces)))
    try:
        got = connection.exchange(target, target.wire, None, 10_000)
    except (InvalidResponse, TransportError) as error:
        return (error.kind,)
    return got.status_code, got.content, dict(got.headers), connection.reusable


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


CUTS = st.lists(st.integers(0, 10_000), max_size=8)
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nhello",
    b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
]


@pytest.mark.parametrize("answer", ANSWERS)
@given(cuts=CUTS)
def test_an_answer_may_be_cut_anywhere(answer, cuts):
    assert exchange(pieces_of(answer, cuts)) == exchange([answer])


@pytest.mark.parametrize("target", [GET, HEAD])
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_a_response_or_an_error_of_the_family(target, pieces):
    assert exchange(pieces, target)


FRAGMENTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"Content-Length: 5\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 ",
        b"HTTP/1.0 ",
        b"HTTP/9.9 ",
        b"200 OK",
        b"100 Continue",
        b"101 Switching Protocols",
        b"204",
        b" 99",
        b"1234",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"Content-Length: 5",
        b"Content-Length: -5",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Content-Encoding: gzip",
        b"Connection: close",
        b"Upgrade: x\r\nConnection: upgrade",
        b"Set-Cookie: \xff=\0",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"hello",
        b" folded",
        b":",
        b"\0",
    ]
)


@pytest.mark.parametrize("target", [GET, HEAD])
@given(st.lists(FRAGMENTS, max_size=14), CUTS)
@example([b"HTTP/1.1 ", b" 99", b"\r\n\r\n"], [])
@example([b"\r\n\r\n"], [])
@example([b"\n", b"HTTP/1.1 ", b"200 OK", b"\r\n\r\n"], [])
@example([b"HTTP/1.1 ", b"101 Switching Protocols", b"\r\n\r\n", b"hello"], [])
def test_any_mixture_of_response_parts_is_a_response_or_an_error(target, fragments, cuts):
    answer = b"".join(fragments)
    assert exchange(pieces_of(answer, cuts), target)


@pytest.mark.parametrize("target", [GET, HEAD])
@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi"],
        [b"HTTP/1.1 200 OK\nContent-Length: 2\n", b"\nhi"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r", b"\nhi"],
    ],
)
def test_a_head_whose_lines_end_without_a_cr_is_read_before_the_stream_ends(
    pieces: list[bytes], target: RequestTarget
) -> None:
    assert exchange(pieces, target)[:2] == (200, b"" if target is HEAD else b"hi")


OK = b"HTTP/1.1 200 OK"
SIZED = OK + b"\r\nContent-Length: 5"
HEADS = [
    OK,
    SIZED,
    SIZED[:-1],
    OK + b"\r\nTransfer-Encoding: chunked",
    SIZED + b"\r\nConnection: close",
    SIZED + b"\r\nContent-Encoding: gzip",
    SIZED + b"\r\nUpgrade: x\r\nConnection: upgrade",
    b"HTTP/1.0 200 OK\r\nContent-Length: 5",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 5",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + SIZED,
]
BODIES = [b"hello", b"HELLO", b"", b"hell", b"hello!", b"helloHTTP/1.1 200 OK\r\n"]
BODIES += [b"5\r\nhello\r\n0\r\n\r\n", b"hello\r\n"]


def learn(head: bytes, body: bytes, target: RequestTarget = GET) -> None:
    """Clear the cache of heads and read the response twice, which stores its length."""
    heads._cache.clear()
    for _ in range(2):
        exchange([head + b"\r\n\r\n" + body], target)


def learnt(head: bytes, body: bytes, target: RequestTarget = GET) -> int:
    """Return the cached body length of a head after two such responses."""
    learn(head, body, target)
    return heads._cache[head].length


@pytest.mark.parametrize("head", HEADS)
@given(
    bodies=st.tuples(st.sampled_from(BODIES), st.sampled_from(BODIES)),
    targets=st.tuples(st.sampled_from([GET, HEAD]), st.sampled_from([GET, HEAD])),
    cuts=CUTS,
)
def test_a_cached_head_changes_no_response(head, bodies, targets, cuts):
    pieces = pieces_of(head + b"\r\n\r\n" + bodies[1], cuts)
    heads._cache.clear()
    unknown = exchange(pieces, targets[1])
    learn(head, bodies[0], targets[0])
    assert exchange(pieces, targets[1]) == unknown


def test_the_parser_runs_only_for_the_first_two_whole_responses_of_a_head(monkeypatch):
    parsed = []
    heads._cache.clear()
    parse = HttpConnection._parse
    monkeypatch.setattr(HttpConnection, "_parse", lambda *args: parsed.append(1) or parse(*args))
    for body in (b"first", b"again", b"third", b"and 4"):
        assert exchange([SIZED + b"\r\n\r\n" + body])[1] == body
    assert len(parsed) == 2
    assert heads._cache[SIZED].length == 5


@pytest.mark.parametrize(
    ("head", "body", "length"),
    [
        (SIZED, b"hello", 5),
        (SIZED, b"hello!", -1),
        (OK + b"\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n", -1),
        (OK, b"hello", -1),
        (b"HTTP/1.1 204 No Content", b"", -1),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500", b"", 0),
    ],
)
def test_only_a_response_framed_by_content_length_gives_a_length(head, body, length):
    assert learnt(head, body) == length


def test_the_answer_to_head_gives_no_length():
    assert learnt(SIZED, b"", HEAD) == -1


def test_content_length_with_another_framing_gives_no_length():
    both = heads.Head(SIZED + b"\r\nTransfer-Encoding: x")
    both.learn(5)
    assert both.length == -1


def test_a_partial_end_of_a_cached_head_is_not_its_end():
    head = OK + b"\r\nContent-Length: 33"
    assert learnt(head, b"x" * 33) == len(head) - 2
    pieces = [head + b"\r", b"\n\r\n" + b"y" * 33]
    assert exchange(pieces)[:2] == (200, b"y" * 33)


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (SIZED, True),
        (SIZED + b"\r\nConnection: close", False),
        (SIZED + b"\r\nProxy-Connection: close", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5", False),
    ],
)
def test_a_cached_head_tells_whether_its_connection_stays_open(head, reusable):
    assert learnt(head, b"hello") == 5
    assert exchange([head + b"\r\n\r\nHELLO"])[3] is reusable


def test_an_answer_with_a_cached_head_on_a_broken_stream_is_the_last():
    class Resets(Bytes):
        def send(self, data: bytes) -> None:
            raise TransportError("connection reset")

    assert learnt(SIZED, b"hello") == 5
    connection = HttpConnection(cast("Transport", Resets([SIZED + b"\r\n\r\nHELLO"])))
    assert connection.exchange(GET, GET.wire, None, 10_000).content == b"HELLO"
    assert not connection.reusable


def test_an_encoded_body_with_a_cached_head_is_decoded_within_the_limit():
    body = gzip.compress(b"a" * 9_000)
    head = OK + b"\r\nContent-Encoding: gzip\r\nContent-Length: %d" % len(body)
    assert learnt(head, body) == len(body)
    assert exchange([head + b"\r\n\r\n" + body])[1] == b"a" * 9_000
    connection = HttpConnection(cast("Transport", Bytes([head + b"\r\n\r\n" + body])))
    with pytest.raises(InvalidResponse):
        connection.exchange(GET, GET.wire, None, 8_999)
    assert not connection.reusable


def test_answers_with_and_without_cached_heads_can_alternate_on_a_connection():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n0\r\n\r\n"
    learn(SIZED, b"hello")
    plain = [SIZED + b"\r\n\r\n" + body for body in (b"one..", b"two..", b"three")]
    answers = [chunked, plain[0], chunked, plain[1], SIZED + b"\r\n\r\n", plain[2], chunked]
    targets = [GET, GET, GET, GET, HEAD, GET, GET]
    connection = HttpConnection(cast("Transport", Bytes(answers)))
    bodies = []
    for target in targets:
        bodies.append(connection.exchange(target, target.wire, None, 10_000).content)
        assert connection.reusable
    assert bodies == [b"chunk", b"one..", b"chunk", b"two..", b"", b"three", b"chunk"]


def test_a_connection_does_not_keep_the_body_of_a_dropped_response():
    connection = HttpConnection(cast("Transport", Bytes([SIZED + b"\r\n\r\nhello"])))
    assert connection.exchange(GET, GET.wire, None, 10_000).content == b"hello"
    assert connection._reply.parts == []
