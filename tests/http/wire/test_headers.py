"""Header fields: case, order, repeated names, and forbidden characters."""

import pytest

from amoc_gevent.http import InvalidHeader
from amoc_gevent.http.wire.headers import Headers, encode, parse, values
from amoc_gevent.http.wire.heads import Head, head_of

HEAD = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-Two:  2 \r\nset-cookie: b=2\r\nX-Empty:"


def test_names_are_case_insensitive_and_keep_their_case():
    headers = Headers({"Content-Type": "text/plain"})
    assert headers["content-TYPE"] == "text/plain"
    assert "CONTENT-type" in headers
    assert list(headers) == ["Content-Type"]
    headers["content-type"] = "x"
    assert dict(headers) == {"content-type": "x"}
    assert headers == {"CONTENT-TYPE": "x"}
    assert headers.pop("Content-Type") == "x"
    assert not headers


def test_each_change_changes_the_version():
    headers = Headers({"a": "1"})
    versions = [headers.version]
    headers["b"] = "2"
    versions.append(headers.version)
    del headers["a"]
    versions.append(headers.version)
    headers.update(c="3")
    versions.append(headers.version)
    assert len(set(versions)) == 4


def test_a_raw_head_is_parsed_line_by_line():
    assert parse(HEAD) == [
        ("Set-Cookie", "a=1"),
        ("X-Two", "2"),
        ("set-cookie", "b=2"),
        ("X-Empty", ""),
    ]
    assert values(HEAD, b"set-cookie") == ["a=1", "b=2"]
    assert values(HEAD, b"x-t") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nY: b"),
        ("X", "a\nb"),
        ("X", "a\0b"),
        ("X\r\nY", "b"),
        ("X Y", "b"),
        ("X:", "b"),
        ("", "b"),
    ],
)
def test_a_field_with_a_line_break_is_refused(name, value):
    with pytest.raises(InvalidHeader) as raised:
        encode([(name, value)])
    assert "\n" not in str(raised.value)


def test_values_are_sent_as_latin_1_or_else_as_utf_8():
    assert encode([("a", "ä"), ("b", b"x"), ("c", 1)]) == b"a: \xe4\r\nb: x\r\nc: 1\r\n"
    assert encode([("a", "中")]) == b"a: \xe4\xb8\xad\r\n"


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"HTTP/1.1 200 OK", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close", True),
        (b"HTTP/1.1 200 OK\r\nCONNECTION:Close", True),
        (b"HTTP/1.1 200 OK\r\nConnection: x, close", True),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive", False),
        (b"HTTP/1.1 200 OK\r\nX-Door: close", False),
        (b"HTTP/1.1 200 OK\r\nProxy-Connection: close", True),
        (b"HTTP/1.0 200 OK\r\nproxy-connection: keep-alive", False),
        (b"HTTP/1.0 200 OK", True),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive", False),
        (b"HTTP/1.0 200 OK\r\nX: keep-alive", True),
    ],
)
def test_a_head_tells_whether_the_connection_stays_open(head, closes):
    assert Head(head).closes is closes


@pytest.mark.parametrize(
    ("head", "framed"),
    [
        (b"HTTP/1.1 200 OK", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length:0", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nX: chunked", False),
        (b"HTTP/1.1 200 OK\r\nX-Content-Length: 5", False),
    ],
)
def test_a_head_tells_whether_its_body_is_framed(head, framed):
    assert Head(head).framed is framed


def test_an_identical_head_is_parsed_once_and_the_cache_is_bounded():
    assert head_of(HEAD) is head_of(bytes(bytearray(HEAD)))
    first = head_of(HEAD)
    for n in range(600):
        head_of(HEAD + b"%d" % n)
    assert head_of(HEAD) is not first
