"""Encodes dataclasses as msgpack arrays in field order, and decodes them with type checks.

Decoded values have exactly the declared types at every level, so code after the decoder need not
check again. Nothing received is ever evaluated or unpickled.
"""

import sys
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import chain
from operator import call
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgpack

from amoc_gevent.core.measure.histogram import Histogram, PackedHistogram, bucket_of
from amoc_gevent.core.measure.snapshot import (
    Operation,
    OperationRows,
    PackedSnapshot,
    Snapshot,
    UserError,
)

T = TypeVar("T")
Reader = Callable[[Any], Any]

BUCKET_MAX = bucket_of((1 << 63) - 1)
NUMBER_MAX = 1 << 53
"""Thousands of such numbers still add up to a sum that can be stored and sent (64 bits)."""

_MALFORMED = (TypeError, ValueError, OverflowError, RecursionError, msgpack.UnpackException)


def encode(item: object) -> bytes:
    """Return the dataclass `item` as bytes. Characters that UTF-8 cannot encode are escaped."""
    try:
        return bytes(msgpack.packb(item, default=_flat))
    except UnicodeEncodeError:
        return bytes(msgpack.packb(item, default=_flat, unicode_errors="backslashreplace"))


def decode(kind: type[T], data: bytes) -> T:
    """Return the `kind` encoded in `data`. Raises ValueError for anything else."""
    try:
        item: T = _reader(cast("Any", kind))(msgpack.unpackb(data, strict_map_key=False))
    except _MALFORMED as error:
        raise ValueError(f"not {_article(kind)}: {error or type(error).__name__}") from error
    return item


def _article(kind: type) -> str:
    name = kind.__name__.lower()
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _flat(item: Any) -> object:
    """Return what msgpack is to write for `item`. It calls this again for nested values."""
    if isinstance(item, Operation):
        return [item.count, item.interrupted, item.latency, item.phases, item.error_groups]
    if isinstance(item, Histogram):
        return _packed(item)
    if isinstance(item, set):
        return [*item]
    if isinstance(item, int):
        raise OverflowError(f"{item} has more than 64 bits")
    flat = [getattr(item, name) for name in _names(cast("Any", type(item)))]
    if isinstance(item, Snapshot):
        flat[_ERRORS] = list(item.errors.values())
    return flat


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


_ERRORS = _names(Snapshot).index("errors")


@cache
def _reader(kind: Any) -> Reader:
    """Return the function that checks a decoded value and converts it to a `kind`."""
    if kind in _SPECIAL:
        return _SPECIAL[kind]
    make: Any = kind
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return _row([_reader(hints[name]) for name in _names(make)], _READ_AS.get(make, make))
    make = _GENERIC.get(get_origin(kind))
    return make(get_args(kind)) if make is not None else _exactly(kind)


def _exactly(kind: type) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise _wrong(value, kind.__name__)
        return value

    return read


def _int(value: Any) -> int:
    if type(value) is not int or not -NUMBER_MAX <= value <= NUMBER_MAX:
        raise _wrong(value, f"int within {NUMBER_MAX}")
    return value


def _float(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise _wrong(value, "float")
    return float(value)


def _literal(allowed: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not str or value not in allowed:
            raise _wrong(value, f"one of {', '.join(allowed)}")
        return value

    return read


def _optional(args: tuple[Any, ...]) -> Reader:
    (other,) = (_reader(one) for one in args if one is not type(None))
    return lambda value: None if value is None else other(value)


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise _wrong(value, "array")
    return value


def _tuple(args: tuple[Any, ...]) -> Reader:
    if args[-1] is not Ellipsis:
        return _row([_reader(one) for one in args], lambda *row: row)
    read_one = _reader(args[0])
    return lambda value: tuple(read_one(one) for one in _list(value))


def _set(args: tuple[Any, ...]) -> Reader:
    read_one = _reader(args[0])
    return lambda value: {read_one(one) for one in _list(value)}


def _row(readers: list[Reader], make: Callable[..., Any]) -> Reader:
    """Return a reader of arrays with one value for each of `readers`."""

    def read(value: Any) -> Any:
        if len(_list(value)) != len(readers):
            raise ValueError(f"array of {len(value)} values instead of {len(readers)}")
        return make(*map(call, readers, value))

    return read


def _mapping(args: tuple[Any, ...]) -> Reader:
    read_key, read_value = map(_reader, args)

    def read(value: Any) -> dict[Any, Any]:
        if type(value) is not dict:
            raise _wrong(value, "map")
        return {read_key(key): read_value(one) for key, one in value.items()}

    return read


def _packed(histogram: Histogram) -> bytes | list[bytes]:
    """Return the buckets as 16-bit pairs of key and count, or as two arrays if a count is larger.

    A report has dozens of histograms with dozens of buckets each, and a master reads a thousand
    reports a second. Packed buckets are read and merged without a Python step for each. A histogram
    that was read and never merged, as on a node with one worker, is forwarded unchanged.
    """
    read = histogram.packed
    if read is not None and len(read) == 1:
        return read[0]
    buckets = histogram.buckets
    keys, counts = array("H", buckets), buckets.values()
    if max(counts, default=0) >= 1 << 16:
        return [_bytes_of(keys), _bytes_of(array("Q", counts))]
    pairs = array("H", bytes(4 * len(keys)))
    pairs[::2], pairs[1::2] = keys, array("H", counts)
    return _bytes_of(pairs)


def _bytes_of(numbers: "array[int]") -> bytes:
    """Return numbers as little-endian bytes."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _histogram(value: Any) -> Histogram:
    if type(value) is not bytes:
        return Histogram(_wide(value))
    _check_packed([value])
    return PackedHistogram(value)


def _check_packed(packed: list[bytes]) -> None:
    """Reject incomplete pairs and keys above `BUCKET_MAX`, the bucket of the largest 63-bit value.

    The low byte of `BUCKET_MAX` is 255, so checking the high bytes is enough.
    """
    if any(length % 4 for length in {*map(len, packed)}):
        raise ValueError("a packed histogram ends within a bucket")
    if b"".join(packed)[1::4].translate(None, _KEY_BYTES):
        raise ValueError(f"a histogram's bucket is above {BUCKET_MAX}")


_KEY_BYTES = bytes(range((BUCKET_MAX >> 8) + 1))


def _wide(value: Any) -> dict[int, int]:
    if type(value) is not list or [*map(type, value)] != [bytes, bytes]:
        raise _wrong(value, "packed histogram")
    if len(value[0]) % 2 or len(value[1]) != 4 * len(value[0]):
        keys_size, counts_size = len(value[0]), len(value[1])
        raise ValueError(f"a packed histogram has {keys_size} and {counts_size} bytes")
    keys, counts = array("H", value[0]), array("Q", value[1])
    if sys.byteorder == "big":
        keys.byteswap()
        counts.byteswap()
    if max(keys, default=0) > BUCKET_MAX:
        raise ValueError(f"a histogram's bucket is above {BUCKET_MAX}")
    if max(counts, default=0) > NUMBER_MAX:
        raise ValueError(f"a histogram's count is above {NUMBER_MAX}")
    return dict(zip(keys, counts, strict=True))


def _operations(value: Any) -> OperationRows:
    """Check all operations of a snapshot column by column, but leave them as rows for now."""
    if type(value) is not dict:
        raise _wrong(value, "map")
    rows: list[Any] = [*value.values()]
    if not rows:
        return value
    _all(str, value)
    _all(list, rows)
    if {*map(len, rows)} != {5}:
        raise ValueError("an operation does not have five values")
    counts, interrupted, latencies, phases, groups = zip(*rows, strict=True)
    for numbers in (counts, interrupted):
        _all(int, numbers)
        _int(min(numbers))
        _int(max(numbers))
    _all(dict, phases)
    names = {*chain.from_iterable(phases)}
    if names:
        _all(str, names)
    histograms = [*latencies, *chain.from_iterable(map(dict.values, phases))]
    if {*map(type, histograms)} != {bytes}:
        _read_wide(rows)
    _check_packed([one for one in histograms if type(one) is bytes])
    _all(dict, groups)
    for group in filter(None, groups):
        _GROUPS(group)
    return value


def _all(kind: type, values: Iterable[Any]) -> None:
    if {*map(type, values)} != {kind}:
        wrong = next(value for value in values if type(value) is not kind)
        raise _wrong(wrong, kind.__name__)


def _read_wide(rows: list[list[Any]]) -> None:
    """Decode in place the operations' histograms that are not packed."""
    for row in rows:
        if type(row[2]) is not bytes:
            row[2] = _histogram(row[2])
        for name, value in row[3].items():
            if type(value) is not bytes:
                row[3][name] = _histogram(value)


def _errors(value: Any) -> dict[tuple[str, str], UserError]:
    return {(one.type, one.place): one for one in _reader(tuple[UserError, ...])(value)}


def _wrong(value: Any, wanted: str) -> TypeError:
    shown = repr(value) if not isinstance(value, list | dict) else type(value).__name__
    return TypeError(f"{shown if len(shown) <= 40 else shown[:40] + '...'} instead of {wanted}")


_GENERIC: dict[Any, Callable[[tuple[Any, ...]], Reader]] = {
    Literal: _literal,
    Union: _optional,
    UnionType: _optional,
    tuple: _tuple,
    set: _set,
    dict: _mapping,
    Mapping: _mapping,
}
_READ_AS = {Snapshot: PackedSnapshot}
_SPECIAL: dict[Any, Reader] = {
    int: _int,
    float: _float,
    Histogram: _histogram,
    dict[str, Operation]: _operations,
    dict[tuple[str, str], UserError]: _errors,
}
_GROUPS = _reader(dict[str, int])
