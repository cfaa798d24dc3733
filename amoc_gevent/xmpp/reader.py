"""From bytes to the elements of one stream, by the standard library's C parser."""

import re
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from amoc_gevent.xmpp.errors import StreamError

STANZA_MAX = 1 << 20
"""Bytes that one stanza may have; servers limit theirs to 256 KB."""


_DECLARATION = re.compile(rb"\s*(?:<\?[^>]*>\s*)*<!")
"""What RFC 6120 11.1 forbids before a stream begins: entities, and how they are declared."""


class Reader:
    """Parses one XML stream: `feed` returns what stands below its root as it becomes complete.

    `header` has the attributes of the root, None before it came; `ended` is true after its end.
    """

    __slots__ = ("_ends", "_limit", "_parser", "_pending", "_prolog", "_root", "ended")

    def __init__(self, limit: int = STANZA_MAX) -> None:
        self._limit = limit
        self._pending = 0
        self._ends: list[tuple[str, Element]] = []
        # What XMLPullParser does, without its wrappers: the queue is a list, and once the root is
        # known, only the ends of elements are told.
        parser: Any = XMLParser(target=TreeBuilder())  # noqa: S314  # expat bounds what entities do
        parser._setevents(self._ends, ("start", "end"))
        self._parser = parser
        self._prolog = b""
        self._root: Element | None = None
        self.ended = False

    @property
    def header(self) -> dict[str, str] | None:
        """The attributes of the stream's root."""
        return None if self._root is None else self._root.attrib

    def feed(self, data: bytes) -> list[Element]:
        """Return the elements that `data` completes. Raises StreamError for what is no XML."""
        ends = self._ends
        if self._root is None:
            self._watch(data)
        try:
            self._parser.feed(data)
            if not ends:
                self._flush()
        except ParseError as error:
            raise StreamError("not-well-formed", f"the server's XML is broken: {error}") from None
        root = self._begin() if self._root is None else self._root
        if root is None or not ends:
            self._count(len(data))
            return []
        last = ends[-1][1]
        found = root[:]
        if last is root:
            self.ended = True
        elif found and found[-1] is not last:
            found.pop()
            self._count(len(data))
        else:
            self._pending = 0
        ends.clear()
        if found:
            del root[: len(found)]
        return found

    def _watch(self, data: bytes) -> None:
        """Let no document type be declared, by which a few bytes could become many."""
        self._prolog += data
        if _DECLARATION.match(self._prolog):
            raise StreamError("restricted-xml", "the server declares a document type")

    def _begin(self) -> Element | None:
        """Take the root: of what comes below it, the ends alone are told from now on."""
        if not self._ends:
            return None
        self._root = self._ends[0][1]
        self._prolog = b""
        self._ends[:] = [event for event in self._ends if event[0] == "end"]
        self._parser._setevents(self._ends, ("end",))
        return self._root

    def _flush(self) -> None:
        """Have a parser that waits for more parse what it has (expat 2.6 puts that off)."""
        flush = getattr(self._parser, "flush", None)
        if flush is not None:
            flush()

    def _count(self, size: int) -> None:
        self._pending += size
        if self._pending > self._limit:
            raise StreamError(
                "policy-violation", f"a stanza of more than {self._limit} bytes came in"
            )
