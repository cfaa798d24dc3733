"""Content codings: each is decoded, bounded, and refused when broken."""

import gzip
import zlib
from contextlib import suppress

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.http import InvalidResponse
from amoc_gevent.http.wire.coding import decode

TEXT = b"all work and no play " * 500
LIMIT = 1 << 20


def gzipped(body: bytes) -> bytes:
    """Compress with a fixed time stamp, so that a case has the same name in each process."""
    return gzip.compress(body, mtime=0)


RAW = zlib.compressobj(wbits=-15)
RAW_DEFLATE = RAW.compress(TEXT) + RAW.flush()


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (TEXT, "identity"),
        (TEXT, "unknown"),
        (gzipped(TEXT), "gzip"),
        (gzipped(TEXT), "X-GZIP"),
        (gzipped(TEXT[:9]) + gzipped(TEXT[9:]), "gzip"),
        (gzipped(TEXT) + b"\0\0\0", "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (RAW_DEFLATE, "deflate"),
        (brotli.compress(TEXT), "br"),
        (gzipped(brotli.compress(TEXT)), "br, gzip"),
        (gzipped(TEXT), "identity, gzip"),
    ],
)
def test_a_coding_is_decoded(body, codings):
    assert decode(body, codings, LIMIT) == TEXT


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_an_empty_body_stays_empty(coding):
    assert decode(b"", coding, LIMIT) == b""


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (TEXT, "gzip"),
        (TEXT, "deflate"),
        (b"\xff" * 100, "br"),
        (gzipped(TEXT)[:-9], "gzip"),
        (zlib.compress(TEXT)[:-9], "deflate"),
        (brotli.compress(TEXT)[:-9], "br"),
        (gzipped(TEXT)[:-8] + b"\0" * 8, "gzip"),
    ],
)
def test_a_broken_or_truncated_body_is_an_invalid_response(body, coding):
    with pytest.raises(InvalidResponse) as raised:
        decode(body, coding, LIMIT)
    assert raised.value.kind == "invalid response"


@pytest.mark.parametrize(
    ("compress", "coding"),
    [(gzipped, "gzip"), (zlib.compress, "deflate"), (brotli.compress, "br")],
)
def test_a_bomb_is_too_large_and_a_body_of_exactly_the_limit_is_not(compress, coding):
    assert decode(compress(bytes(LIMIT)), coding, LIMIT) == bytes(LIMIT)
    with pytest.raises(InvalidResponse) as raised:
        decode(compress(bytes(8 * LIMIT)), coding, LIMIT)
    assert raised.value.kind == "response too large"


def test_many_small_members_can_be_a_bomb():
    with pytest.raises(InvalidResponse, match="too large"):
        decode(gzipped(bytes(1 << 16)) * 100, "gzip", LIMIT)


def test_a_bomb_within_a_bomb_is_found():
    with pytest.raises(InvalidResponse, match="too large"):
        decode(gzipped(gzipped(bytes(64 * LIMIT))), "gzip, gzip", LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_are_decoded_or_refused(coding, garbage, kept):
    compress = {"gzip": gzipped, "deflate": zlib.compress, "br": brotli.compress}[coding]
    for body in (garbage, compress(TEXT)[:kept] + garbage):
        with suppress(InvalidResponse):
            assert isinstance(decode(body, coding, LIMIT), bytes)
