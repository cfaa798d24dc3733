"""Splitting a client's stream into stanzas, in whatever pieces it arrives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.demo.xmpp.reader import (
    Closed,
    Event,
    InvalidStreamError,
    Opened,
    RawStanza,
    StreamReader,
    without_attribute,
)
from tests.expat import Watch

HEADER = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='a>b' xmlns:stream='x'>"
STANZAS = [
    b"<a/>",
    b"<a></a>",
    b"<a x='/>' y=\">\"/>",
    b"<a><b/></a>",
    b"<a><a><a/></a>text</a >",
    b"<a><![CDATA[</a><a/>]]></a>",
    b"<a>1 > 0 ]]</a>",
    "<a n='ü'>schön &lt;a/&gt;</a>".encode(),
    b"<message\n to='b' ><body>1</body></message>",
]


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


def feed(reader: StreamReader, pieces: list[bytes]) -> list[Event]:
    """Return the events of these pieces."""
    return [event for piece in pieces for event in reader.feed(piece)]


def read(data: bytes, cuts: list[int]) -> list[Event]:
    reader, events, begin = StreamReader(), [], 0
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        events += reader.feed(data[begin:end])
        begin = end
    return events


@given(
    st.lists(st.tuples(st.sampled_from(STANZAS), st.sampled_from([b"", b" ", b"\n\n"]))),
    st.lists(st.integers(min_value=0), max_size=30),
    st.booleans(),
)
def test_each_stanza_comes_once_with_its_original_bytes(
    parts: list[tuple[bytes, bytes]], cuts: list[int], closes: bool
) -> None:
    data = HEADER + b"".join(stanza + space for stanza, space in parts)
    events = read(data + b"</stream:stream>" * closes, cuts)
    assert isinstance(events[0], Opened)
    assert [isinstance(event, Closed) for event in events[-1:]] == [closes]
    found = [event.raw for event in events if isinstance(event, RawStanza)]
    assert found == [stanza for stanza, _ in parts]


class Watched:
    """The parser of a reader. Fails if it gets an incomplete token."""

    def __init__(self, reader: StreamReader) -> None:
        self._parser, self._watch = reader._parser, Watch()
        reader._parser = self

    def Parse(self, data: bytes, last: bool) -> None:  # noqa: N802
        self._parser.Parse(data, last)
        self._watch.feed(data)
        assert not self._watch.unread, data[-self._watch.unread :]

    @property
    def CurrentByteIndex(self) -> int:  # noqa: N802
        return self._parser.CurrentByteIndex


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_expat_never_gets_an_incomplete_token(size: int) -> None:
    data, reader = HEADER + b" ".join(STANZAS) + b"</stream:stream>", StreamReader()
    Watched(reader)
    events = feed(reader, in_pieces(data, size))
    assert [event.raw for event in events if isinstance(event, RawStanza)] == STANZAS


@pytest.mark.parametrize("begin", [b"<a", b"<a b='", b"<a>", b"<a><![CDATA[", b"x"])
def test_a_stanza_over_the_limit_is_refused(begin: bytes) -> None:
    reader = StreamReader(1000)
    reader.feed(HEADER + STANZAS[0])
    reader.feed(begin)
    with pytest.raises(InvalidStreamError, match="policy-violation"):
        feed(reader, [b"xy"] * 1000)


def test_whitespace_between_stanzas_is_ignored() -> None:
    reader = StreamReader(1000)
    reader.feed(HEADER)
    for _ in range(2000):
        assert reader.feed(b" ") == []
    assert [event.raw for event in reader.feed(b"\n<a/>")] == [b"<a/>"]


@pytest.mark.parametrize("part", [b"<!-- x -->", b"<?x y?>", b"<!DOCTYPE a>", b"<!DOCTYPE a [<!"])
@pytest.mark.parametrize("size", [1, 100])
def test_forbidden_xml_is_refused_at_once(part: bytes, size: int) -> None:
    data = part if b"DOCTYPE" in part else HEADER + part
    with pytest.raises(InvalidStreamError, match="restricted-xml"):
        feed(StreamReader(), in_pieces(data, size))


def test_only_the_attribute_of_the_outermost_tag_is_removed() -> None:
    raw = b"<message from = 'a>b' xfrom='c' to='d'><x from='e'/></message>"
    assert without_attribute(raw, b"from") == (b"<message xfrom='c' to='d'><x from='e'/></message>")
    assert without_attribute(b"<a to=' from=\"b\"'/>", b"to") == b"<a/>"
