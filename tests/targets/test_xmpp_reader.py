"""How a client's stream is cut into stanzas: whatever the pieces that it comes in."""

from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.targets.xmpp.reader import (
    Closed,
    Event,
    Opened,
    Stanza,
    StreamReader,
    without_attribute,
)

HEADER = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='a>b' xmlns:stream='x'>"
STANZAS = [
    b"<a/>",
    b"<a></a>",
    b"<a x='/>' y=\">\"/>",
    b"<a><b/></a>",
    b"<a><a><a/></a>text</a >",
    b"<a><![CDATA[</a><a/>]]></a>",
    "<a n='ü'>schön &lt;a/&gt;</a>".encode(),
    b"<message\n to='b' ><body>1</body></message>",
]


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
def test_each_stanza_comes_once_with_its_very_bytes(
    parts: list[tuple[bytes, bytes]], cuts: list[int], closes: bool
) -> None:
    data = HEADER + b"".join(stanza + space for stanza, space in parts)
    events = read(data + b"</stream:stream>" * closes, cuts)
    assert isinstance(events[0], Opened)
    assert [isinstance(event, Closed) for event in events[-1:]] == [closes]
    found = [event.raw for event in events if isinstance(event, Stanza)]
    assert found == [stanza for stanza, _ in parts]


def test_only_the_own_attribute_of_a_stanza_is_taken_away() -> None:
    raw = b"<message from = 'a>b' xfrom='c' to='d'><x from='e'/></message>"
    assert without_attribute(raw, b"from") == (b"<message xfrom='c' to='d'><x from='e'/></message>")
    assert without_attribute(b"<a to=' from=\"b\"'/>", b"to") == b"<a/>"
