"""expat only gets whole tokens of a stream, each as soon as it is complete."""

from collections.abc import Iterable
from itertools import pairwise
from xml.parsers.expat import ExpatError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.core.xml_tokens import TokenBuffer
from tests.expat import Watch, unread

HEADER = b"<?xml version='1.0'?><stream xmlns='jabber:client' to='a>b' id=\"'\">"
PARTS = (
    b"<a/>",
    b"<a b='>' c=\">'>\"></a >",
    b"<a\n b = '/>' >",
    b"</a>",
    b" \r\n",
    b"a > b ]> ]] > ' \" -> ?>",
    "schön 🐦 &amp;&#x1F426;".encode(),
    b"<![CDATA[</a>]] >]>]]]>",
    b"<![CDATA[]]>",
    b"<!---->",
    b"<!-- <a b='> -> -->",
    b"<?a <b> > ??>",
    b"<?a?>",
)


def cut(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut `data` at these places."""
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


def balanced(parts: list[bytes]) -> bytes:
    """Return a stream of these parts, which is not broken: each end tag has its beginning."""
    depth, kept = 0, [HEADER]
    for part in parts:
        step = (part == PARTS[2]) - (part == PARTS[3])
        if depth + step >= 0:
            depth += step
            kept.append(part)
    return b"".join(kept)


streams = st.lists(st.sampled_from(PARTS)).map(balanced)


def is_whole(data: bytes) -> bool:
    """Whether expat can read all of `data`, and more need not come; it reads half a CDATA too."""
    if data.rfind(b"<![CDATA[") > data.rfind(b"]]>"):
        return False
    return not data or (data.endswith(b">") and not unread(data))


@given(streams, st.lists(st.integers(min_value=0), max_size=30))
def test_expat_never_gets_a_part_of_a_token_and_nothing_is_lost(
    data: bytes, cuts: list[int]
) -> None:
    buffer, watch, given_on = TokenBuffer(), Watch(), b""
    for piece in cut(data, cuts):
        whole = buffer.feed(piece)
        watch.feed(whole)
        assert watch.unread == 0
        given_on += whole
    assert len(given_on) + buffer.size == len(data)
    assert data.startswith(given_on)
    assert given_on + buffer.feed(b"<x/>") == data + b"<x/>"


@given(streams)
def test_a_finished_token_is_not_held_back(data: bytes) -> None:
    buffer = TokenBuffer()
    for end in range(1, len(data) + 1):
        buffer.feed(data[end - 1 : end])
        assert (buffer.size == 0) == is_whole(data[:end]), data[:end]


@given(streams, st.integers(min_value=0))
def test_a_stream_in_two_pieces_is_returned_up_to_the_last_whole_token(
    data: bytes, place: int
) -> None:
    first, second = cut(data, [place])
    buffer = TokenBuffer()
    given_on = [buffer.feed(first), buffer.feed(second)]
    for end, whole in ((len(first), given_on[0]), (len(data), b"".join(given_on))):
        last = max(at for at in range(end + 1) if is_whole(data[:at]))
        assert len(whole) == last


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        HEADER + b"<a <b",
        HEADER + b"<a b='<",
        HEADER + b"<a b='>\"' \"<",
        HEADER + b"</b>",
        HEADER + b"<a>&b;</a>",
        HEADER + b"<!DOCTYPE a>",
        HEADER + b"<a b='<!--",
        HEADER + b"<a <![CDATA[",
        HEADER + b"<a <b>text",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_broken_xml_is_passed_on_for_the_parser_to_report(data: bytes, size: int) -> None:
    given_on = map(TokenBuffer().feed, cut(data, range(0, len(data), size)))
    watch = Watch()
    with pytest.raises(ExpatError):
        list(map(watch.feed, given_on))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_stream_in_another_encoding_is_passed_on_unchanged(encoding: str, size: int) -> None:
    data, buffer = HEADER.decode().encode(encoding), TokenBuffer()
    assert b"".join(map(buffer.feed, cut(data, range(0, len(data), size)))) == data
    assert buffer.feed(b"<") == b"<"


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_utf_8_byte_order_mark_is_not_another_encoding(size: int) -> None:
    data, buffer = b"\xef\xbb\xbf" + HEADER, TokenBuffer()
    assert b"".join(map(buffer.feed, cut(data, range(0, len(data), size)))) == data
    assert buffer.feed(b"<a") == b""


def test_white_space_is_dropped_only_if_it_stands_alone() -> None:
    buffer = TokenBuffer()
    assert buffer.feed(b"<a>") == b"<a>"
    for _ in range(3):
        assert buffer.feed(b" ") == b""
        buffer.drop_space()
        assert buffer.size == 0
    for piece in (b"\n<b", b" ", b"c=' "):
        buffer.feed(piece)
        buffer.drop_space()
    assert buffer.feed(b"'/>") == b"\n<b c=' '/>"


@pytest.mark.parametrize("begin", [b"<a b='", b"<a>", b"<![CDATA["])
def test_held_bytes_are_joined_once(begin: bytes) -> None:
    buffer = TokenBuffer()
    buffer.feed(HEADER + begin)
    pieces = [b"%d" % number for number in range(1000)]
    for piece in pieces:
        assert buffer.feed(piece) == b""
    assert all(map(lambda held, piece: held is piece, buffer._held[-1000:], pieces))
