"""Decoding of content codings, up to a size limit: gzip, deflate, br (RFC 9110, 8.4)."""

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli

from amoc_gevent.http.errors import INVALID, TOO_LARGE, InvalidResponse

ACCEPTED = "gzip, deflate, br"

_BROTLI_PIECE = 4096


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def decode(body: bytes, codings: str, limit: int) -> bytes:
    """Decode a body by `codings`, the value of Content-Encoding, up to an unknown coding.

    Raises InvalidResponse when the body is not encoded so, or decodes to over `limit` bytes.
    """
    for coding in reversed([c.strip().lower() for c in codings.split(",")]):
        undo = _DECODERS.get(coding)
        if undo is None:
            break
        try:
            body = undo(body, limit)
        except (zlib.error, brotli.error) as error:
            raise InvalidResponse(INVALID, f"the body is not {coding}: {error}") from None
        if len(body) > limit:
            raise InvalidResponse(
                TOO_LARGE,
                f"more than {limit} bytes after {coding}, the limit session.max_response_size",
            )
    return body


def _gzip(body: bytes, limit: int) -> bytes:
    out = b""
    while body:  # one or more members (RFC 1952, 2.2)
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        out += _inflate(inflater, body, limit - len(out))
        body = inflater.unused_data.lstrip(b"\0") if len(out) <= limit else b""
        if body[:2] not in (b"\x1f\x8b", b""):
            break  # padding, which other clients ignore too
    return out


def _deflate(body: bytes, limit: int) -> bytes:
    try:
        return _inflate(zlib.decompressobj(), body, limit)
    except zlib.error:  # raw deflate, as some servers send
        return _inflate(zlib.decompressobj(-zlib.MAX_WBITS), body, limit)


def _inflate(inflater: _Inflater, body: bytes, limit: int) -> bytes:
    if not body:
        return b""
    out = inflater.decompress(body, limit + 1)
    if not inflater.eof and len(out) <= limit:
        raise zlib.error("it is truncated")
    return out


def _brotli(body: bytes, limit: int) -> bytes:
    if not body:
        return b""
    decoder = brotli.Decompressor()
    out = bytearray()
    for start in range(0, len(body), _BROTLI_PIECE):
        piece = decoder.process(body[start : start + _BROTLI_PIECE], output_buffer_limit=limit)
        out += piece
        while len(out) <= limit and not decoder.can_accept_more_data():
            out += decoder.process(b"", output_buffer_limit=limit)
        if len(out) > limit:
            return bytes(out)
    if not decoder.is_finished():
        raise brotli.error("it is truncated")
    return bytes(out)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
}
