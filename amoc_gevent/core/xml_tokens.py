"""Cuts an XML byte stream between tokens, so that expat only gets whole tokens.

An expat with reparse deferral (2.6, or older with the fix for CVE-2023-52425) does not parse a
token that arrives in pieces until much more data has arrived. Not every Python can switch that off.
Every expat parses whole tokens at once.
"""

import re

_IDLE, _START, _TEXT, _OPENED, _TAG, _IN_SECTION, _FOREIGN = range(7)

_GREATER, _SLASH, _BANG, _ASK = b">/!?"

# No possessive quantifiers, because in Python 3.11.2 they match too much (gh-106052).
_IN_TAG = re.compile(rb"""[^<>"']*(?:"[^"<]*"[^<>"']*|'[^'<]*'[^<>"']*)*""")
"""In a tag outside quotes: matches up to ">", an invalid "<", or an unclosed quote."""

_SECTIONS = {b"<!--": b"-->", b"<![CDATA[": b"]]>", b"<?": b"?>"}
"""The start and end of each kind of markup that is no tag (XML 1.0, 2.5 to 2.7)."""

_SECTION = re.compile(b"<[!?]")
_OPENING_MAX = max(map(len, _SECTIONS))


class TokenBuffer:
    """Holds back the bytes after the last whole token of one stream; `size` is their number.

    The data returned by `feed` ends with a ">" that ends a tag or section, or is part of text.
    Broken XML is returned as soon as it is detected, and so is a stream that is not XML in UTF-8:
    the parser reports the error. The cost is linear in the size of the stream, however it is split.
    """

    __slots__ = ("_awaited", "_held", "_recent", "_state", "size")

    def __init__(self) -> None:
        self._state = _START
        self._held: list[bytes] = []
        self._awaited = b""  # the open quote in a tag, or the end of a section
        self._recent = b""  # a partial start or end of a section
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        """Return the whole tokens that `data` completes, with their bytes held back before."""
        if not self._state:  # fast path: nothing is held back, and `data` ends with a tag
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
        """Discard held white space, which is insignificant between stanzas."""
        if self._state == _TEXT and all(map(bytes.isspace, self._held)):
            self._held.clear()
            self.size = 0
            self._state = _IDLE

    def _scan(self, data: bytes) -> int:
        """Return how many bytes of `data` complete whole tokens, held bytes included."""
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
        """Return the position after the start of a stream, or -1 if it is incomplete."""
        if data.startswith(b"<?xml "):
            self._state = _IDLE
            return max(0, data.find(b"?>"))
        first = data.lstrip()[:2]
        if not first:
            return -1
        self._state = _IDLE if _is_utf8(first) else _FOREIGN
        return 0

    def _cut(self, data: bytes, begin: int) -> int:
        """Return the end of the whole tokens in `data`. At `begin` no tag or section is open.

        A "<" always starts markup, except in sections: it is not allowed in a tag.
        """
        # searching for one byte takes a tenth of the time
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
        """Open the markup at the "<" at `begin`. Return its end, or -1 if that is not in `data`."""
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
        """Return the end of the tag that continues at `begin`, or -1."""
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
        """Return the end of the section that continues at `begin`, or -1."""
        found = data.find(self._awaited, begin)
        if found < 0:
            self._recent = data[max(begin, len(data) - len(self._awaited) + 1) :]
            return -1
        return found + len(self._awaited)

    def _broken(self, data: bytes) -> int:
        """Pass all of `data` on: the parser will raise an error."""
        self._state = _IDLE
        return len(data)


def _is_utf8(first: bytes) -> bool:
    """Whether XML with these first two bytes can be UTF-8, possibly with a byte order mark."""
    return first[0] in b"<\xef" and first[1:2] != b"\0"


def _within_tag(data: bytes, begin: int, end: int) -> int:
    """Return the position of the tag's end, of an invalid "<" or of an unclosed quote."""
    found = _IN_TAG.match(data, begin, end)
    return begin if found is None else found.end()


def _is_tag(data: bytes, begin: int, end: int) -> bool:
    """Whether the tag at `begin` is complete before `end`, where a ">" is, perhaps a quoted one."""
    if data[begin + 1] == _SLASH:
        return True
    single, double = data.count(b"'", begin, end), data.count(b'"', begin, end)
    if not (single % 2 or double % 2 or (single and double)):
        return True
    at = _within_tag(data, begin + 1, end)
    return at < end and data[at] == _GREATER


def _ends_whole(data: bytes, begin: int, end: int) -> bool:
    """Whether no tag is open at `end` in the text and tags from `begin` on."""
    last = data.rfind(b"<", begin, end)
    if last < 0:
        return True
    closed = data.rfind(b">", last, end)
    return closed >= 0 and _is_tag(data, last, closed + 1)
