"""From bytes to the elements of one stream, by the standard library's C parser.

A parser and what it has learnt of names are some kilobytes that each stanza touches, so streams
that stand between two stanzas have none: they share one, which stays in the processor's cache.
"""

import re
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from amoc_gevent.core.xml_tokens import TokenBuffer
from amoc_gevent.xmpp.errors import StreamError
from amoc_gevent.xmpp.stanzas.stanza import escaped

STANZA_MAX = 1 << 20
"""Bytes that one stanza may have; servers limit theirs to 256 KB."""

_SHARED_PARSERS_MAX = 16
"""Kinds of roots whose streams share parsers; a server has one."""

_DECLARATION = re.compile(rb"\s*(?:<\?[^>]*>\s*)*<!")
"""What RFC 6120 11.1 forbids before a stream begins: entities, and how they are declared."""

_ROOT = re.compile(r"<([^\s?!/>\0]+)")

Namespaces = tuple[tuple[str, str], ...]
"""What a stream's root declares: prefixes and what they stand for."""

RootKind = tuple[str, Namespaces]
"""What a stream's root is called, and what it declares."""


class _Parser:
    """The C parser with what it has found: `ends` as elements end, below a `root` once that came.

    What XMLPullParser does, without its wrappers: the queue is a list, and once the root is known,
    only the ends of elements are told. What it read last ended `between` two stanzas, or the root
    is `over`.
    """

    __slots__ = ("_feed", "_parser", "between", "ends", "over", "root")

    def __init__(self) -> None:
        parser: Any = XMLParser(target=TreeBuilder())  # noqa: S314  # expat bounds what entities do
        self.ends: list[tuple[str, Any]] = []
        self.root: Element | None = None
        self.between = self.over = False
        parser._setevents(self.ends, ("start-ns", "start", "end"))
        self._parser = parser
        self._feed = parser.feed

    def parse(self, whole: bytes) -> list[Element]:
        """Return what whole tokens complete below the root. Raises StreamError for what is no XML.

        Before the root is known, that waits in the queue.
        """
        try:
            self._feed(whole)
        except ParseError as error:
            raise StreamError("not-well-formed", f"the server's XML is broken: {error}") from None
        ends = self.ends
        root = self.root
        self.between = False
        if root is None or not ends:
            return []
        last = ends[-1][1]
        found = root[:]
        if last is root:
            self.over = True
        elif found and found[-1] is not last:
            found.pop()
        else:
            self.between = True
        ends.clear()
        if found:
            del root[: len(found)]
        return found

    def begin(self) -> Namespaces:
        """Take the root, if it came, and return what it declares."""
        declared = []
        for event, what in self.ends:
            if event == "start":
                self.root = what
                self.ends[:] = [found for found in self.ends if found[0] == "end"]
                self._parser._setevents(self.ends, ("end",))
                break
            declared.append(what)
        return tuple(sorted(declared))


class _SharedParser:
    """The `parser` of streams whose roots are of one kind, for one that begins a stanza to take.

    It gets it back after the stanza; others make one of their own in the meantime.
    """

    __slots__ = ("_root", "parser")

    def __init__(self, name: str, namespaces: Namespaces) -> None:
        declared = (f" xmlns{':' if to else ''}{to}='{escaped(uri)}'" for to, uri in namespaces)
        self._root = f"<{name}{''.join(declared)}>".encode()
        self.parser: _Parser | None = None

    def take(self) -> _Parser:
        """Return it, or a new one that has read such a root."""
        found, self.parser = self.parser, None
        if found is not None:
            return found
        made = _Parser()
        made.parse(self._root)
        made.begin()
        return made


_shared: dict[RootKind, _SharedParser] = {}


class Reader:
    """Parses one XML stream: `feed` returns what stands below its root as it becomes complete.

    `header` has the attributes of the root, None before it came; `ended` is true after its end.
    """

    __slots__ = (
        "_limit",
        "_parser",
        "_pending",
        "_prolog",
        "_shared",
        "_tokens",
        "ended",
        "header",
    )

    def __init__(self, limit: int = STANZA_MAX) -> None:
        self._limit = limit
        self._pending = 0
        self._parser: _Parser | None = None
        self._shared: _SharedParser | None = None
        self._prolog = b""
        self._tokens = TokenBuffer()
        self.header: dict[str, str] | None = None
        self.ended = False

    def feed(self, data: bytes) -> list[Element]:
        """Return the elements that `data` completes. Raises StreamError for what is no XML."""
        tokens = self._tokens
        if self._parser is None and not tokens.size and data.isspace():
            return []  # a sign of life
        whole = tokens.feed(data)
        if not whole:
            self._count(len(data))
            return []
        parser = self._parser
        if parser is None:
            shared = self._shared
            self._parser = parser = _Parser() if shared is None else shared.take()
        found = self._begin(parser, whole) if self.header is None else parser.parse(whole)
        if parser.over:
            self.ended = True
        elif not found:
            self._count(len(data))
            return found
        elif parser.between:
            if tokens.size:
                tokens.drop_space()
            shared = self._shared
            if shared is not None:
                self._parser = None
                shared.parser = parser
        self._pending = tokens.size
        return found

    def _begin(self, parser: _Parser, whole: bytes) -> list[Element]:
        """Look for the root, and for whom to share a parser with that has read such a one.

        Return what is complete below it. No document type may be declared before it, by which a few
        bytes could become many.
        """
        self._prolog += whole
        if _DECLARATION.match(self._prolog):
            raise StreamError("restricted-xml", "the server declares a document type")
        parser.parse(whole)
        namespaces = parser.begin()
        if parser.root is None:
            return []
        self.header = parser.root.attrib
        name = _ROOT.search(self._prolog.decode(errors="replace"))
        self._prolog = b""
        if name is not None:  # else it is in another encoding, and keeps its parser
            kind = name[1], namespaces
            if kind not in _shared and len(_shared) < _SHARED_PARSERS_MAX:
                _shared[kind] = _SharedParser(*kind)
            self._shared = _shared.get(kind)
        return parser.parse(b"")

    def _count(self, size: int) -> None:
        self._pending += size
        if self._pending > self._limit:
            raise StreamError(
                "policy-violation", f"a stanza of more than {self._limit} bytes came in"
            )
