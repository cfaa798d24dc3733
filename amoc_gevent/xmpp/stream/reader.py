"""Parses the bytes of one stream into elements, with the standard library's C parser.

A parser and its name tables take some kilobytes, and each stanza touches them. So streams between
two stanzas hold no parser: they share one, which stays in the processor's cache.
"""

import re
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from amoc_gevent.core.xml_tokens import TokenBuffer
from amoc_gevent.xmpp.errors import StreamError
from amoc_gevent.xmpp.stanzas.stanza import escaped

STANZA_MAX = 1 << 20
"""Largest stanza in bytes. Servers limit theirs to 256 KB."""

_SHARED_PARSERS_MAX = 16
"""Limit of kinds of root elements with a shared parser. All streams of a server have one kind."""

_DECLARATION = re.compile(rb"\s*(?:<\?[^>]*>\s*)*<!")
"""Declarations before the stream header, which RFC 6120 11.1 forbids: DTDs and entities."""

_ROOT = re.compile(r"<([^\s?!/>\0]+)")

Namespaces = tuple[tuple[str, str], ...]
"""The namespaces that a stream's root declares: prefixes and URIs."""

RootKind = tuple[str, Namespaces]
"""The name of a stream's root and the namespaces that it declares."""


class _Parser:
    """The C parser and its results: `ends` lists the ends of elements, `root` is the stream's root.

    It does what XMLPullParser does, without the wrappers: the queue is a list, and once the root is
    known, the parser reports only the ends of elements. `between` is true if the last input ended
    between two stanzas, `at_end` if the root has ended.
    """

    __slots__ = ("_feed", "_parser", "at_end", "between", "ends", "root")

    def __init__(self) -> None:
        parser: Any = XMLParser(target=TreeBuilder())  # noqa: S314  # expat bounds what entities do
        self.ends: list[tuple[str, Any]] = []
        self.root: Element | None = None
        self.between = self.at_end = False
        parser._setevents(self.ends, ("start-ns", "start", "end"))
        self._parser = parser
        self._feed = parser.feed

    def parse(self, whole: bytes) -> list[Element]:
        """Parse whole tokens; return the children of the root that they complete.

        Before the root is known, events stay in the queue. Raises StreamError for invalid XML.
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
            self.at_end = True
        elif found and found[-1] is not last:
            found.pop()
        else:
            self.between = True
        ends.clear()
        if found:
            del root[: len(found)]
        return found

    def begin(self) -> Namespaces:
        """Take the root from the queue, if it is there; return the namespaces it declares."""
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
    """The `parser` that streams with one kind of root share.

    A stream takes it at the start of a stanza and returns it afterwards. Meanwhile other streams
    create parsers of their own.
    """

    __slots__ = ("_root", "parser")

    def __init__(self, name: str, namespaces: Namespaces) -> None:
        declared = (f" xmlns{':' if to else ''}{to}='{escaped(uri)}'" for to, uri in namespaces)
        self._root = f"<{name}{''.join(declared)}>".encode()
        self.parser: _Parser | None = None

    def take(self) -> _Parser:
        """Return the shared parser, or a new one that has read the same kind of root."""
        found, self.parser = self.parser, None
        if found is not None:
            return found
        made = _Parser()
        made.parse(self._root)
        made.begin()
        return made


_shared: dict[RootKind, _SharedParser] = {}


class Reader:
    """Parses one XML stream: `feed` returns the children of the root as they become complete.

    `header` holds the attributes of the root, None before it arrives. `ended` is true after its
    end.
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
        """Return the elements that `data` completes. Raises StreamError for invalid XML."""
        tokens = self._tokens
        if self._parser is None and not tokens.size and data.isspace():
            return []  # whitespace keepalive
        whole = tokens.feed(data)
        if not whole:
            self._count(len(data))
            return []
        parser = self._parser
        if parser is None:
            shared = self._shared
            self._parser = parser = _Parser() if shared is None else shared.take()
        found = self._begin(parser, whole) if self.header is None else parser.parse(whole)
        if parser.at_end:
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
        """Find the root, and share a parser with streams that have the same kind of root.

        Return the complete elements below it. Raises StreamError for a document type declaration,
        because its entities could expand a few bytes into many.
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
        if name is not None:  # else the encoding is not UTF-8: keep this parser
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
