"""Whatever bytes come, in whatever pieces: a response or an error of the family."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amoc_gevent.http import InvalidResponse, heads
from amoc_gevent.http.connection import Connection
from amoc_gevent.http.target import Route, Target
from amoc_gevent.http.urls import split
from amoc_gevent.transport import Peer, Transport, TransportError

ROUTE = Route(split("http://h"), Peer("h", 80))
GET, HEAD = (Target(method, ROUTE, "/", "/", b"Host: h\r\n") for method in ("GET", "HEAD"))


class Bytes:
    """A stream that has these pieces and then ends."""

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


def exchange(pieces: Iterable[bytes], target: Target = GET) -> tuple[Any, ...]:
    """What comes of these pieces: status, body and whether more may follow, or the error's kind."""
    connection = Connection(cast("Transport", Bytes(pieces)))
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
def test_where_an_answer_is_cut_into_pieces_changes_nothing(answer, cuts):
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
def test_any_mixture_of_what_responses_are_made_of_is_one_or_an_error(target, fragments, cuts):
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
def test_a_head_whose_lines_end_without_a_cr_is_invalid_before_the_stream_ends(
    pieces: list[bytes], target: Target
) -> None:
    assert exchange(pieces, target) == ("invalid response",)


SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5"
CODED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
BODIES = [
    b"hello",
    b"HELLO",
    b"hell",
    b"hello!",
    b"helloHTTP/1.1 200 OK\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
]


def learn(head: bytes, body: bytes) -> None:
    """Let a response tell of its head, which is asked when that comes again; no other is known."""
    heads._kept.clear()
    for _ in range(2):
        exchange([head + b"\r\n\r\n" + body])


def learnt(head: bytes, body: bytes) -> int:
    """Return the length of the body that is known of a head after this response."""
    learn(head, body)
    return heads._kept[head].length


@pytest.mark.parametrize("target", [GET, HEAD])
@pytest.mark.parametrize("head", [SIZED, CODED, CLOSING, CHUNKED, b"HTTP/1.1 200 OK", SIZED[:-1]])
@pytest.mark.parametrize("first", BODIES)
@given(body=st.sampled_from(BODIES), cuts=CUTS)
def test_that_a_head_is_known_changes_nothing(head, first, target, body, cuts):
    pieces = pieces_of(head + b"\r\n\r\n" + body, cuts)
    heads._kept.clear()
    unknown = exchange(pieces, target)
    learn(head, first)
    assert exchange(pieces, target) == unknown


def test_a_whole_response_with_a_known_head_needs_no_parser(monkeypatch):
    assert learnt(SIZED, b"hello") == 5
    monkeypatch.setattr(Connection, "_parse", None)
    assert exchange([SIZED + b"\r\n\r\nHELLO"])[:2] == (200, b"HELLO")


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (SIZED, b"hello!"),
        (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
        (b"HTTP/1.1 200 OK", b"hello"),
        (b"HTTP/1.1 204 No Content", b""),
    ],
)
def test_only_a_response_that_content_length_ended_tells_a_length(head, body):
    assert learnt(head, body) == -1


def test_the_answer_to_head_tells_no_length():
    heads._kept.clear()
    for _ in range(2):
        exchange([SIZED + b"\r\n\r\n"], HEAD)
    assert heads._kept[SIZED].length == -1


def test_the_first_byte_of_the_end_of_a_known_head_is_not_taken_for_its_end():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 33"
    assert learnt(head, b"x" * 33) == len(head) - 2
    pieces = [head + b"\r", b"\n\r\n" + b"y" * 33]
    assert exchange(pieces)[:2] == (200, b"y" * 33)
