"""The framing of responses, read from their heads and cached by the bytes of the head.

Within a second, a server's responses to one request mostly have identical heads. Looking up the
bytes takes a tenth of the time that parsing takes. A response that arrives whole with a cached head
needs no parser at all.
"""

import re

from amoc_gevent.http.wire.headers import values

HEADS_MAX = 256
CACHED_SIZE_MAX = 4096
"""Largest head in bytes that is cached."""

_UNUSUAL = re.compile(
    rb"\n(?i:content-encoding:|set-cookie:|(?:proxy-)?connection:[^\n]*close)"
).search
_LENGTH = re.compile(rb"\n(?i:content-length:)").search
_TRANSFER = re.compile(rb"\n(?i:transfer-encoding:)").search
_CHUNKED = re.compile(rb"\n(?i:transfer-encoding:(?:[^\r\n]*[ \t,])?chunked[ \t]*)(?:\r|\Z)").search


class Head:
    """What one head says about its response (RFC 9112, 6.3 and 9.3).

    `raw`: its bytes up to the empty line. `closes`: whether the peer closes the connection after
    the response. `codings`: the value of Content-Encoding, "" for none. `length`: bytes of the
    body by Content-Length, -1 if unknown. `learned`: whether `learn` has been called.
    """

    __slots__ = ("closes", "codings", "learned", "length", "raw", "sets_cookies", "status")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.status = int(raw[9:12])
        self.length = -1
        self.learned = self.closes = self.sets_cookies = False
        self.codings = ""
        if _UNUSUAL(raw) or raw[:8] != b"HTTP/1.1":
            lowered = raw.lower()
            self.closes = _closes(lowered) or _is_old_and_coded(lowered)
            self.sets_cookies = b"\nset-cookie:" in lowered
            if b"\ncontent-encoding:" in lowered:
                self.codings = ",".join(values(raw, b"content-encoding"))

    @property
    def framed(self) -> bool:
        """Whether the head tells where the body ends, other than by the end of the stream."""
        return bool(_LENGTH(self.raw) or _CHUNKED(self.raw))

    def learn(self, length: int) -> None:
        """Store the body length that the parser found in a response, which was not to HEAD."""
        self.learned = True
        if _LENGTH(self.raw) and not _TRANSFER(self.raw):
            self.length = length


def head_of(raw: bytes) -> Head:
    """Return the parsed head, cached if it is small. Raises ValueError if it has no status."""
    found = cached_head(raw)
    if found is None:
        found = Head(raw)
        if len(raw) <= CACHED_SIZE_MAX:
            if len(_cache) >= HEADS_MAX:
                _cache.clear()
            _cache[raw] = found
    return found


_cache: dict[bytes, Head] = {}

cached_head = _cache.get
"""Return the parsed head from the cache, None if it is not there."""


def _is_old_and_coded(lowered: bytes) -> bool:
    """Return whether a head is of HTTP/1.0 with a transfer coding (RFC 9112, 6.1)."""
    return not lowered.startswith(b"http/1.1") and b"\ntransfer-encoding:" in lowered


def _closes(lowered: bytes) -> bool:
    persistent = lowered.startswith(b"http/1.1")
    if (b"close" if persistent else b"keep-alive") not in lowered:
        return not persistent
    fields = values(lowered, b"connection") + values(
        lowered, b"proxy-connection"
    )  # as the parser does
    names = {token.strip() for token in ",".join(fields).split(",")}
    return "close" in names or not (persistent or "keep-alive" in names)
