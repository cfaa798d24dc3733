"""The shared parser: no stream affects the elements of another."""

from xml.etree.ElementTree import fromstring, tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.xmpp.errors import StreamError
from amoc_gevent.xmpp.stream import reader as reader_module
from amoc_gevent.xmpp.stream.reader import Reader
from tests.expat import WatchedParser

ROOT = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='%s' version='1.0' "
    b"xmlns:stream='http://etherx.jabber.org/streams'>"
)
END = b"</stream:stream>"
STANZAS = (
    b"<message from='a' id='1'><body>hi &gt; you</body><x xmlns='y'/></message>",
    b"<presence/>",
    b'<presence from="it\'s"/>',
    b"<presence from='>/>'></presence >",
    b"<iq type='result' id='2'/>",
    b"<stream:features><a xmlns='b'/></stream:features>",
    b"<message><body><![CDATA[</message>]]></body></message>",
    b"<message id='>' to=\"'>\"><body>1 > 0 ]] &#x1F426;\xf0\x9f\x90\xa6</body></message>",
    b"<r xmlns='urn:xmpp:sm:3'/>",
    b" \n",
)


def opened(name: bytes = b"s") -> Reader:
    reader = Reader()
    assert reader.feed(ROOT % name) == []
    assert reader.header is not None
    assert reader.header["id"] == name.decode()
    return reader


def feed(reader: Reader, pieces: list[bytes]) -> list[object]:
    """Return all elements from these pieces."""
    return [element for piece in pieces for element in reader.feed(piece)]


def texts(elements: list[object]) -> list[str]:
    return [tostring(element, encoding="unicode").strip() for element in elements]


def alone(stanzas: list[bytes]) -> list[str]:
    """Return the elements of one document with these stanzas, parsed at once."""
    found = list(fromstring(ROOT % b"alone" + b"".join(stanzas) + END))
    for element in found:
        element.tail = None
    return texts(found)


@given(st.lists(st.lists(st.sampled_from(STANZAS), max_size=6), min_size=2, max_size=4), st.data())
def test_interleaved_streams_yield_the_same_elements_as_each_alone(
    streams: list[list[bytes]], data: st.DataObject
) -> None:
    readers = [opened(str(number).encode()) for number in range(len(streams))]
    rest = [b"".join(stanzas) for stanzas in streams]
    found: list[list[str]] = [[] for _ in streams]
    while any(rest):
        which = data.draw(st.sampled_from([n for n, left in enumerate(rest) if left]))
        size = data.draw(st.integers(1, len(rest[which])))
        piece, rest[which] = rest[which][:size], rest[which][size:]
        found[which] += texts(readers[which].feed(piece))
    assert found == [alone(stanzas) for stanzas in streams]
    for reader in readers:
        assert reader.feed(END) == []
        assert reader.ended


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_expat_never_holds_a_partial_token(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(reader_module, "XMLParser", WatchedParser)
    monkeypatch.setattr(reader_module, "_shared", {})
    data = ROOT % b"s" + b"".join(STANZAS) + END
    reader = Reader()
    found = feed(reader, [data[begin : begin + size] for begin in range(0, len(data), size)])
    assert reader.ended
    assert texts(found) == alone(list(STANZAS))


def test_a_stream_between_two_stanzas_holds_no_parser() -> None:
    reader = opened()
    for stanza in STANZAS:
        assert len(reader.feed(stanza)) == (0 if stanza.isspace() else 1)
        assert reader._parser is None, stanza


def test_a_partial_tag_needs_no_parser_and_is_not_lost() -> None:
    reader = opened()
    assert len(reader.feed(STANZAS[0] + b" \n<message")) == 1
    for piece in (b" ", b" id='", b"1'", b"\n", b"/"):
        assert reader.feed(piece) == []
        assert reader._parser is None
    assert texts(reader.feed(b">")) == alone([b"<message id='1'/>"])


@pytest.mark.parametrize(
    "rest",
    [
        b"<!-- </message>",
        b"<![CDATA[</message>",
        b"<?x </message>",
        b"<presence a='/>",
        b"<presence a='>",
        b"<presence a=\"'/>",
        b"<mess",
        b"<",
    ],
)
def test_an_unfinished_stanza_does_not_affect_another_stream(rest: bytes) -> None:
    one, other = opened(b"one"), opened(b"other")
    assert len(one.feed(STANZAS[0] + rest)) == 1
    assert texts(other.feed(STANZAS[0])) == alone([STANZAS[0]])


def test_a_broken_stream_does_not_affect_others() -> None:
    one, other = opened(b"one"), opened(b"other")
    one.feed(STANZAS[0])
    with pytest.raises(StreamError, match="not-well-formed"):
        one.feed(b"<message></presence>")
    assert texts(other.feed(STANZAS[0])) == alone([STANZAS[0]])
    assert other.feed(END) == []
    assert other.ended
    assert len(opened(b"third").feed(STANZAS[0])) == 1


def test_streams_with_different_namespaces_do_not_share_a_parser() -> None:
    usual = opened()
    component = Reader()
    component.feed(b"<s:stream xmlns='jabber:component:accept' xmlns:s='urn:s' id='c'>")
    for _ in range(2):
        (mine,), (theirs,) = (
            usual.feed(b"<message></message>"),
            component.feed(b"<message></message>"),
        )
        assert (mine.tag, theirs.tag) == (
            "{jabber:client}message",
            "{jabber:component:accept}message",
        )
    assert component.feed(b"</s:stream>") == []
    assert component.ended


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_stream_in_another_encoding_has_its_own_parser(encoding: str) -> None:
    start, stanza = (
        text.decode().encode(encoding) for text in (ROOT % b"s" + STANZAS[0], STANZAS[0])
    )
    readers = Reader(), Reader()
    found = [texts(reader.feed("\ufeff".encode(encoding) + start)) for reader in readers]
    for piece in (stanza[:-5], stanza[-5:]):
        for reader, of_it in zip(readers, found, strict=True):
            of_it.extend(texts(reader.feed(piece)))
    assert found == [alone([STANZAS[0]] * 2)] * 2
    assert texts(opened(b"other").feed(STANZAS[0])) == alone([STANZAS[0]])


def test_an_oversized_stanza_is_refused_and_keepalives_do_not_count() -> None:
    reader = Reader(limit=1000)
    reader.feed(ROOT % b"s")
    for _ in range(2):
        assert len(reader.feed(STANZAS[0])) == 1
        for _ in range(2000):
            assert reader.feed(b" ") == []
    for _ in range(10):
        assert reader.feed(b"<message>" + b"x" * 90) == []
    with pytest.raises(StreamError, match="more than 1000 bytes"):
        reader.feed(b"x" * 20)


@pytest.mark.parametrize("begin", [b"<message", b"<message id='", b"<message>", b"<![CDATA[", b"x"])
def test_a_partial_token_counts_towards_the_limit(begin: bytes) -> None:
    reader = Reader(limit=1000)
    reader.feed(ROOT % b"s" + STANZAS[0])
    reader.feed(begin)
    with pytest.raises(StreamError, match="more than 1000 bytes"):
        feed(reader, [b"xy"] * 1000)


def test_the_limit_applies_to_each_stanza_wherever_pieces_end() -> None:
    stanza = b"<message><body>" + b"x" * 80 + b"</body></message>"
    for place in range(len(stanza)):
        reader = Reader(limit=1000)
        reader.feed(ROOT % b"s" + stanza[:place])
        found = [reader.feed(stanza[place:] + stanza[:place]) for _ in range(20)]
        assert list(map(len, found)) == [1] * 20
