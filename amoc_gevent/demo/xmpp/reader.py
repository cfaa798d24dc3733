"""Splits a client's XML stream into stanzas, each with its original bytes (RFC 6120, 4)."""

import re
from dataclasses import dataclass
from typing import NamedTuple
from xml.parsers import expat

from amoc_gevent.core.xml_tokens import TokenBuffer
from amoc_gevent.errors import AmocError

STREAM = "stream:stream"
STANZA_MAX = 1 << 20

_TAG = re.compile(rb"""<[^\s/>]+(?:[^>"']|"[^"]*"|'[^']*')*>""")


class InvalidStreamError(AmocError):
    """The stream is invalid. The message is a defined condition (RFC 6120, 4.9.3)."""


class Opened(NamedTuple):
    """A stream header."""

    attributes: dict[str, str]


class Closed(NamedTuple):
    """The end of the stream."""


@dataclass(slots=True)
class RawStanza:
    """A child of the stream: its name, its attributes and its bytes."""

    name: str
    attributes: dict[str, str]
    raw: bytes


Event = Opened | Closed | RawStanza


class StreamReader:
    """Feeds one stream to expat in whole tokens and keeps only the children of the stream.

    Stanzas must use the default namespace; names with a prefix are not supported. `stanza_max` is
    the largest size of a stanza (bytes).
    """

    __slots__ = (
        "_attributes",
        "_base",
        "_begin",
        "_data",
        "_depth",
        "_end",
        "_events",
        "_held",
        "_held_size",
        "_name",
        "_parser",
        "_stanza_max",
        "_tokens",
    )

    def __init__(self, stanza_max: int = STANZA_MAX) -> None:
        self._stanza_max = stanza_max
        self._depth = 0
        self._name = ""
        self._attributes: dict[str, str] = {}
        self._begin = self._end = 0  # start of this stanza, end of the last one, in the stream
        self._base = 0  # position of the held bytes in the stream
        self._held: list[bytes] = []
        self._held_size = 0
        self._data = b""
        self._events: list[Event] = []
        self._tokens = TokenBuffer()
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._finish
        parser.CommentHandler = parser.StartDoctypeDeclHandler = self._restricted
        parser.ProcessingInstructionHandler = self._restricted
        self._parser: expat.XMLParserType | None = parser

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes. Raises InvalidStreamError if it is not XMPP."""
        parser = self._parser
        if parser is None:
            return []
        events = self._events = []
        whole = self._tokens.feed(data)
        if whole:
            self._held.append(whole)
            self._held_size += len(whole)
            try:
                parser.Parse(whole, False)
            except expat.ExpatError:
                raise InvalidStreamError("not-well-formed") from None
        self._keep()
        return events

    def close(self) -> None:
        """Release the parser, which has references to this reader."""
        self._parser = None

    def _keep(self) -> None:
        """Keep only the bytes of an unfinished stanza. Drop whitespace keep-alives between two."""
        keep = self._held_size - (self._end - self._base)
        if keep == 0:
            self._held.clear()
        elif self._end != self._base:
            self._held = [self._all()[self._end - self._base :]]
        self._base, self._held_size = self._end, keep
        tokens = self._tokens
        if tokens.size:
            if self._depth == 1:
                tokens.drop_space()
            if keep + tokens.size > self._stanza_max:
                raise InvalidStreamError("policy-violation")
        elif keep > self._stanza_max:
            raise InvalidStreamError("policy-violation")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        depth = self._depth
        self._depth = depth + 1
        if depth == 1:
            self._name = name
            self._attributes = attributes
            self._begin = self._parser.CurrentByteIndex  # type: ignore[union-attr]  # set: it calls us
        elif depth == 0:
            if name != STREAM:
                raise InvalidStreamError("bad-format")
            self._events.append(Opened(attributes))
            self._end = self._after_tag(self._parser.CurrentByteIndex)  # type: ignore[union-attr]

    def _finish(self, _name: str) -> None:
        self._depth = depth = self._depth - 1
        if depth == 1:
            begin, index = self._begin, self._parser.CurrentByteIndex  # type: ignore[union-attr]
            data = self._all()
            base = self._base
            # expat's position is before an end tag, but after an empty-element tag
            at = index - base
            if data[at - 2 : at] == b"/>" and self._after_tag(begin) == index:
                end = index
            else:
                end = data.index(b">", at) + 1 + base
            self._end = end
            self._events.append(
                RawStanza(self._name, self._attributes, data[begin - base : end - base])
            )
        elif depth == 0:
            self._events.append(Closed())

    def _all(self) -> bytes:
        held = self._held
        if len(held) > 1:
            self._held = held = [b"".join(held)]
        return held[0]

    def _after_tag(self, begin: int) -> int:
        found = _TAG.match(self._all(), begin - self._base)
        if found is None:
            raise InvalidStreamError("not-well-formed")
        return found.end() + self._base

    def _restricted(self, *_: object) -> None:
        raise InvalidStreamError("restricted-xml")


def without_attribute(raw: bytes, name: bytes) -> bytes:
    """Return a stanza without one attribute of its outermost tag."""
    found = _TAG.match(raw)
    if found is None:
        return raw
    quoted = rb"""\s+%b\s*=\s*(?:"[^"]*"|'[^']*')""" % re.escape(name)
    return re.sub(quoted, b"", raw[: found.end()], count=1) + raw[found.end() :]
