"""The framing facts of response heads, cached by the bytes of the head.

Within a second, a server's responses to one request mostly have identical heads. A look-up by the
bytes takes a tenth of the time to parse a head. A response that arrives whole with a known head
needs no parser at all.
"""

import re

from amoc_gevent.http.wire.headers import values

HEADS_KEPT = 256
KEPT_SIZE = 4096
"""Largest head in bytes that is cached."""

_UNUSUAL = re.compile(
    rb"\n(?i:content-encoding:|set-cookie:|(?:proxy-)?connection:[^\n]*close)"
).search
_LENGTH = re.compile(rb"\n(?i:content-length:)").search
_TRANSFER = re.compile(rb"\n(?i:transfer-encoding:)").search
_CHUNKED = re.compile(rb"\n(?i:transfer-encoding:[^\n]*chunked)").search


class Head:
    """The facts of one head (RFC 9112, 6.3 and 9.3).

    `raw`: its bytes up to the empty line. `closes`: whether the peer closes the connection after
    the response. `codings`: the value of Content-Encoding, "" for none. `length`: bytes of the
    body by Content-Length, -1 if unknown. `asked`: whether `learn` has been called.
    """

    __slots__ = ("asked", "closes", "codings", "length", "raw", "sets_cookies", "status")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.status = int(raw[9:12])
        self.length = -1
        self.asked = self.closes = self.sets_cookies = False
        self.codings = ""
        if _UNUSUAL(raw) or raw[:8] != b"HTTP/1.1":
            lowered = raw.lower()
            self.closes = _closes(lowered)
            self.sets_cookies = b"\nset-cookie:" in lowered
            if b"\ncontent-encoding:" in lowered:
                self.codings = ",".join(values(raw, b"content-encoding"))

    @property
    def framed(self) -> bool:
        """Whether the head tells where the body ends, other than by the end of the stream."""
        return bool(_LENGTH(self.raw) or _CHUNKED(self.raw))

    def learn(self, length: int) -> None:
        """Store the body length that the parser found in a response, which was not to HEAD."""
        self.asked = True
        if _LENGTH(self.raw) and not _TRANSFER(self.raw):
            self.length = length


def head_of(raw: bytes) -> Head:
    """Return the facts of a head, cached if it is small. Raises ValueError without a status."""
    found = kept(raw)
    if found is None:
        found = Head(raw)
        if len(raw) <= KEPT_SIZE:
            if len(_kept) >= HEADS_KEPT:
                _kept.clear()
            _kept[raw] = found
    return found


_kept: dict[bytes, Head] = {}

kept = _kept.get
"""Return the facts of a cached head, else None."""


def _closes(lowered: bytes) -> bool:
    persistent = lowered.startswith(b"http/1.1")
    if (b"close" if persistent else b"keep-alive") not in lowered:
        return not persistent
    fields = values(lowered, b"connection") + values(
        lowered, b"proxy-connection"
    )  # as the parser does
    names = {token.strip() for token in ",".join(fields).split(",")}
    return "close" in names or not (persistent or "keep-alive" in names)
