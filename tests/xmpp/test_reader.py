"""The parser that streams share: whatever one of them does, none takes what is another's."""

from xml.etree.ElementTree import tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.xmpp.errors import StreamError
from amoc_gevent.xmpp.reader import Reader

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
    b"<r xmlns='urn:xmpp:sm:3'/>",
    b" \n",
)


def begun(name: bytes = b"s") -> Reader:
    reader = Reader()
    assert reader.feed(ROOT % name) == []
    assert reader.header is not None
    assert reader.header["id"] == name.decode()
    return reader


def texts(elements: list[object]) -> list[str]:
    return [tostring(element, encoding="unicode").strip() for element in elements]


def alone(stanzas: list[bytes]) -> list[str]:
    """What a stream of its own, read at once, has in it."""
    return texts(Reader().feed(ROOT % b"alone" + b"".join(stanzas)))


@given(st.lists(st.lists(st.sampled_from(STANZAS), max_size=6), min_size=2, max_size=4), st.data())
def test_streams_that_come_in_pieces_all_mixed_up_are_each_what_they_are_alone(
    streams: list[list[bytes]], data: st.DataObject
) -> None:
    readers = [begun(str(number).encode()) for number in range(len(streams))]
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


def test_a_stream_between_two_stanzas_has_no_parser_of_its_own() -> None:
    reader = begun()
    for stanza in STANZAS:
        assert len(reader.feed(stanza)) == (0 if stanza.isspace() else 1)
        if b"<![CDATA[" not in stanza and b'"' not in stanza:
            assert reader._parser is None, stanza


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
    one, other = begun(b"one"), begun(b"other")
    assert len(one.feed(STANZAS[0] + rest)) == 1
    assert texts(other.feed(STANZAS[0])) == alone([STANZAS[0]])


def test_a_stream_that_breaks_takes_no_other_with_it() -> None:
    one, other = begun(b"one"), begun(b"other")
    one.feed(STANZAS[0])
    with pytest.raises(StreamError, match="not-well-formed"):
        one.feed(b"<message></presence>")
    assert texts(other.feed(STANZAS[0])) == alone([STANZAS[0]])
    assert other.feed(END) == []
    assert other.ended
    assert len(begun(b"third").feed(STANZAS[0])) == 1


def test_streams_whose_roots_declare_other_names_are_kept_apart() -> None:
    usual = begun()
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


def test_a_stream_in_another_encoding_is_read_by_a_parser_of_its_own() -> None:
    text = (ROOT % b"s").decode() + STANZAS[0].decode()
    reader = Reader()
    found = reader.feed(text.encode("utf-16"))
    found += reader.feed(STANZAS[0].decode().encode("utf-16-le"))
    assert texts(found) == alone([STANZAS[0]] * 2)
    assert texts(begun(b"other").feed(STANZAS[0])) == alone([STANZAS[0]])


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


def test_stanzas_of_which_none_ends_a_piece_are_each_bounded_alone() -> None:
    stanza = b"<message><body>" + b"x" * 80 + b"</body></message>"
    for place in range(len(stanza)):
        reader = Reader(limit=1000)
        reader.feed(ROOT % b"s" + stanza[:place])
        found = [reader.feed(stanza[place:] + stanza[:place]) for _ in range(20)]
        assert list(map(len, found)) == [1] * 20
