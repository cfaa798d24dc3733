"""The request parser without a socket: any pieces, any form of target, every limit."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.demo.messages import AfterReply, Reply, Request
from amoc_gevent.demo.reader import BODY_MAX, CONTINUE, RequestReader


def read(*pieces: bytes) -> list[Request | Reply]:
    reader = RequestReader("127.0.0.1:1")
    return [item for piece in pieces for item in reader.feed(piece)]


def only(*pieces: bytes) -> Request:
    [item] = read(*pieces)
    assert isinstance(item, Request)
    return item


STREAM = (
    b"GET /a?x=1 HTTP/1.1\r\nHost: d\r\nX-One: 1\r\n\r\n"
    b"POST /b HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nhello"
    b"POST /c HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    b"HEAD / HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_requests_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in pairwise(edges) if a < b]
    requests = [item for item in read(*pieces) if isinstance(item, Request)]
    assert [(r.method, r.path, r.query, r.body, r.keep_alive) for r in requests] == [
        ("GET", "/a", "x=1", b"", True),
        ("POST", "/b", "", b"hello", True),
        ("POST", "/c", "", b"abcd", True),
        ("HEAD", "/", "", b"", False),
    ]


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_refused_or_incomplete(data: bytes) -> None:
    for item in read(data):
        assert isinstance(item, Request) or item.data.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://d:80/x?y", "/x", "y"),
        ("http://d", "/", ""),
        ("/at/http://d/x", "/at/http://d/x", ""),
        ("/?a=b?c", "/", "a=b?c"),
    ],
)
def test_path_and_query_are_parsed_from_any_form_of_target(
    target: str, path: str, query: str
) -> None:
    request = only(f"GET {target} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
    assert (request.path, request.query) == (path, query)


def test_an_upgrade_request_is_answered_as_a_plain_request_and_closed() -> None:
    request = only(
        b"GET / HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00"
    )
    assert (request.path, request.keep_alive) == ("/", False)


def test_only_a_request_that_arrived_alone_and_whole_keeps_its_bytes() -> None:
    whole = b"GET / HTTP/1.1\r\nHost: d\r\n\r\n"
    assert only(whole).raw == whole
    assert only(whole[:5], whole[5:]).raw == b""
    assert [item.raw for item in read(whole + whole) if isinstance(item, Request)] == [b"", b""]
    assert [item.raw for item in read(whole + whole[:9]) if isinstance(item, Request)] == [b""]


def test_continue_is_sent_in_its_place_and_only_in_http_1_1() -> None:
    head = b"POST / HTTP/1.%d\r\nHost: d\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n"
    reader = RequestReader("")
    assert reader.feed(head % 1) == [CONTINUE]
    assert reader.in_request
    assert [type(item) for item in reader.feed(b"x")] == [Request]
    assert RequestReader("").feed(head % 0) == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x00", 400),
        (b"GET / HTTP/1.1\r\nA: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: d\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % (BODY_MAX + 1), 413),
        (b"GET /%b HTTP/1.1\r\nHost: d\r\n\r\n" % (b"x" * (64 << 10)), 431),
        (b"GET /%b" % (b"x" * (65 << 10)), 431),
    ],
)
def test_a_refusal_closes_with_the_reason_in_json(data: bytes, status: int) -> None:
    [refusal] = read(data)
    assert isinstance(refusal, Reply)
    head, _, body = refusal.data.partition(b"\r\n\r\n")
    assert refusal.after is AfterReply.CLOSE
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["error"]
