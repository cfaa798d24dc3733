"""Cuts the bytes of an XML stream where no token is unfinished, so that expat is given whole ones.

An expat with reparse deferral (2.6, and older ones with the fix of CVE-2023-52425) leaves a token
that came in pieces unread until much more has come. Not every Python can switch that off. Whole
tokens are read at once by each of them.
"""

import re

_IDLE, _START, _TEXT, _OPENED, _TAG, _IN_SECTION, _FOREIGN = range(7)

_GREATER, _SLASH, _BANG, _ASK = b">/!?"

# without possessive quantifiers: those of Python 3.11.2 match what they should not (gh-106052)
_IN_TAG = re.compile(rb"""[^<>"']*(?:"[^"<]*"[^<>"']*|'[^'<]*'[^<>"']*)*""")
"""From where no quote is open in a tag to its ">", a "<" that breaks it, or an open quote."""

_SECTIONS = {b"<!--": b"-->", b"<![CDATA[": b"]]>", b"<?": b"?>"}
"""How what is no tag begins and ends (XML 1.0, 2.5 to 2.7)."""

_SECTION = re.compile(b"<[!?]")
_OPENING_MAX = max(map(len, _SECTIONS))


class TokenBuffer:
    """Holds back what follows the last whole token of one stream; `size` is its bytes.

    What `feed` returns ends with a ">" that ends a tag or a section, or is part of text. XML that
    is broken is handed over as soon as that is seen, and so is all of a stream that is not in
    UTF-8 or no XML: its reader tells what is wrong. The cost is linear in the bytes of the stream,
    whatever the pieces that it comes in.
    """

    __slots__ = ("_awaited", "_held", "_recent", "_state", "size")

    def __init__(self) -> None:
        self._state = _START
        self._held: list[bytes] = []
        self._awaited = b""  # the quote that is open in a tag, or what ends a section
        self._recent = b""  # the beginning of an opening, or of a section's end
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        """Return the whole tokens that `data` completes, with what was held back of them."""
        if not self._state:  # nothing is held back, and nearly always nothing will be
            last = data.rfind(b"<")
            if (
                last >= 0
                and data[-1] == _GREATER
                and (data[last + 1] == _SLASH or _is_tag(data, last, len(data)))
                and (_BANG not in data or b"<!" not in data)
                and (_ASK not in data or b"<?" not in data)
            ):
                return data
        if not data:
            return data
        cut = self._scan(data)
        if not cut:
            self._held.append(data)
            self.size += len(data)
            return b""
        whole = data[:cut]
        if self._held:
            self._held.append(whole)
            whole = b"".join(self._held)
            self._held.clear()
        self.size = len(data) - cut
        if self.size:
            self._held.append(data[cut:])
        return whole

    def drop_space(self) -> None:
        """Forget what is held if it is white space, which between two stanzas means nothing."""
        if self._state == _TEXT and all(map(bytes.isspace, self._held)):
            self._held.clear()
            self.size = 0
            self._state = _IDLE

    def _scan(self, data: bytes) -> int:
        """Return how many bytes of `data` are whole tokens, with what is held before them."""
        state = self._state
        if state == _TAG:
            begin = self._end_of_tag(data, 0)
        elif state in {_OPENED, _IN_SECTION}:
            recent = self._recent
            more = recent + data
            begin = self._open(more, 0) if state == _OPENED else self._end_of_section(more, 0)
            if begin >= 0:
                begin -= len(recent)
        else:
            begin = 0
            if state == _START:
                begin = self._begin(data)
        if begin < 0:
            return 0
        return len(data) if self._state == _FOREIGN else self._cut(data, begin)

    def _begin(self, data: bytes) -> int:
        """Return where to go on in what a stream begins with, or -1."""
        if data.startswith(b"<?xml "):
            self._state = _IDLE
            return max(0, data.find(b"?>"))
        first = data.lstrip()[:2]
        if not first:
            return -1
        self._state = _IDLE if _is_utf8(first) else _FOREIGN
        return 0

    def _cut(self, data: bytes, begin: int) -> int:
        """Return where the whole tokens of `data` end, whose text goes on at `begin`.

        A "<" begins something wherever it stands, except in sections: in a tag it may not be.
        """
        # looking for one byte takes a tenth of the time
        section = _SECTION.search(data, begin) if _BANG in data or _ASK in data else None
        while section is not None:
            opening = section.start()
            if not _ends_whole(data, begin, opening):
                return self._broken(data)
            end = self._open(data, opening)
            if end < 0:
                return max(begin, data.rfind(b">", begin, opening) + 1)
            begin = end
            section = _SECTION.search(data, begin)
        last = data.rfind(b"<", begin)
        cut = data.rfind(b">", max(begin, last)) + 1
        if last < 0 or (cut and _is_tag(data, last, cut)):
            cut = cut or begin
            self._state = _IDLE if cut == len(data) else _TEXT
            return cut
        if not _ends_whole(data, begin, last):
            return self._broken(data)
        end = self._open(data, last)
        return end if end >= 0 else max(begin, data.rfind(b">", begin, last) + 1)

    def _open(self, data: bytes, begin: int) -> int:
        """Begin what the "<" at `begin` begins, and return where that ends; -1: not in `data`."""
        head = data[begin : begin + _OPENING_MAX]
        if len(head) < 2 or head[1] in b"!?\0":
            if not _is_utf8(head):
                self._state = _FOREIGN
                return len(data)
            for opening, end in _SECTIONS.items():
                if head.startswith(opening):
                    self._state, self._awaited = _IN_SECTION, end
                    return self._end_of_section(data, begin + len(opening))
                if opening.startswith(head):
                    self._state, self._recent = _OPENED, head
                    return -1
        self._state, self._awaited = _TAG, b""
        return self._end_of_tag(data, begin + 1)

    def _end_of_tag(self, data: bytes, begin: int) -> int:
        """Return where the tag ends that goes on at `begin`, or -1."""
        if self._awaited:
            closing = data.find(self._awaited, begin)
            if data.find(b"<", begin, len(data) if closing < 0 else closing) >= 0:
                return self._broken(data)
            if closing < 0:
                return -1
            begin = closing + 1
        at = _within_tag(data, begin, len(data))
        found = data[at : at + 1]
        if found == b">":
            return at + 1
        if data.find(b"<", at) >= 0:
            return self._broken(data)
        self._awaited = found
        return -1

    def _end_of_section(self, data: bytes, begin: int) -> int:
        """Return where the section ends that goes on at `begin`, or -1."""
        found = data.find(self._awaited, begin)
        if found < 0:
            self._recent = data[max(begin, len(data) - len(self._awaited) + 1) :]
            return -1
        return found + len(self._awaited)

    def _broken(self, data: bytes) -> int:
        """Have all of `data` read: that raises an error."""
        self._state = _IDLE
        return len(data)


def _is_utf8(first: bytes) -> bool:
    """Whether a stream of XML that begins so can be in UTF-8: its first byte may be of a mark."""
    return first[0] in b"<\xef" and first[1:2] != b"\0"


def _within_tag(data: bytes, begin: int, end: int) -> int:
    """Return where the tag ends that goes on at `begin`, where it is broken, or its open quote."""
    found = _IN_TAG.match(data, begin, end)
    return begin if found is None else found.end()


def _is_tag(data: bytes, begin: int, end: int) -> bool:
    """Whether the tag at `begin` is whole at `end`, behind a ">" that may be quoted, or text."""
    if data[begin + 1] == _SLASH:
        return True
    single, double = data.count(b"'", begin, end), data.count(b'"', begin, end)
    if not (single % 2 or double % 2 or (single and double)):
        return True
    at = _within_tag(data, begin + 1, end)
    return at < end and data[at] == _GREATER


def _ends_whole(data: bytes, begin: int, end: int) -> bool:
    """Whether no tag is unfinished at `end` of text and tags that begin at `begin`."""
    last = data.rfind(b"<", begin, end)
    if last < 0:
        return True
    closed = data.rfind(b">", last, end)
    return closed >= 0 and _is_tag(data, last, closed + 1)
