"""The parser that streams share: whatever one of them does, none takes what is another's."""

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
    """Return all that comes out of these pieces."""
    return [element for piece in pieces for element in reader.feed(piece)]


def texts(elements: list[object]) -> list[str]:
    return [tostring(element, encoding="unicode").strip() for element in elements]


def alone(stanzas: list[bytes]) -> list[str]:
    """What a document of its own, read at once, has in it."""
    found = list(fromstring(ROOT % b"alone" + b"".join(stanzas) + END))
    for element in found:
        element.tail = None
    return texts(found)


@given(st.lists(st.lists(st.sampled_from(STANZAS), max_size=6), min_size=2, max_size=4), st.data())
def test_streams_that_come_in_pieces_all_mixed_up_are_each_what_they_are_alone(
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
def test_expat_is_never_left_with_a_part_of_a_token(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(reader_module, "XMLParser", WatchedParser)
    monkeypatch.setattr(reader_module, "_shared", {})
    data = ROOT % b"s" + b"".join(STANZAS) + END
    reader = Reader()
    found = feed(reader, [data[begin : begin + size] for begin in range(0, len(data), size)])
    assert reader.ended
    assert texts(found) == alone(list(STANZAS))


def test_a_stream_between_two_stanzas_has_no_parser_of_its_own() -> None:
    reader = opened()
    for stanza in STANZAS:
        assert len(reader.feed(stanza)) == (0 if stanza.isspace() else 1)
        assert reader._parser is None, stanza


def test_a_stream_that_has_a_part_of_a_tag_has_no_parser_yet_and_loses_none_of_it() -> None:
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
def test_what_one_stream_has_begun_is_not_in_the_way_of_another(rest: bytes) -> None:
    one, other = opened(b"one"), opened(b"other")
    assert len(one.feed(STANZAS[0] + rest)) == 1
    assert texts(other.feed(STANZAS[0])) == alone([STANZAS[0]])


def test_a_stream_that_breaks_takes_no_other_with_it() -> None:
    one, other = opened(b"one"), opened(b"other")
    one.feed(STANZAS[0])
    with pytest.raises(StreamError, match="not-well-formed"):
        one.feed(b"<message></presence>")
    assert texts(other.feed(STANZAS[0])) == alone([STANZAS[0]])
    assert other.feed(END) == []
    assert other.ended
    assert len(opened(b"third").feed(STANZAS[0])) == 1


def test_streams_whose_roots_declare_other_names_are_kept_apart() -> None:
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
def test_a_stream_in_another_encoding_is_read_by_a_parser_of_its_own(encoding: str) -> None:
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


def test_a_stanza_that_grows_too_long_is_refused_and_a_sign_of_life_is_none() -> None:
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
def test_what_is_held_back_of_a_stanza_is_bounded_as_well(begin: bytes) -> None:
    reader = Reader(limit=1000)
    reader.feed(ROOT % b"s" + STANZAS[0])
    reader.feed(begin)
    with pytest.raises(StreamError, match="more than 1000 bytes"):
        feed(reader, [b"xy"] * 1000)


def test_stanzas_of_which_none_ends_a_piece_are_each_bounded_alone() -> None:
    stanza = b"<message><body>" + b"x" * 80 + b"</body></message>"
    for place in range(len(stanza)):
        reader = Reader(limit=1000)
        reader.feed(ROOT % b"s" + stanza[:place])
        found = [reader.feed(stanza[place:] + stanza[:place]) for _ in range(20)]
        assert list(map(len, found)) == [1] * 20
