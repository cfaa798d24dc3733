"""Converts answers to JSON objects and back, guided by the types of the dataclass fields.

A dataclass becomes an object with one member per field. Metadata of a field may set another name
(`json`) or leave the member out while the value is None (`omit`). A class with its own `to_json` or
`from_json` method uses that instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Converter = Callable[[Any], Any]


def as_json(item: object) -> dict[str, Any]:
    """Return the dataclass `item` as plain data for `json.dumps`."""
    kind: Any = type(item)
    write = _writer(kind)
    found: Any = item if write is None else write(item)
    return cast("dict[str, Any]", found)


def from_json(kind: type[T], data: Any) -> T:
    """Return the dataclass `kind` read from the decoded JSON object `data`.

    Unknown members are ignored. Raises KeyError for a missing member, TypeError or ValueError for a
    bad value.
    """
    item: T = _reader(cast("Any", kind))(data)
    return item


# Writing


@cache
def _writer(kind: Any) -> Converter | None:
    """Return the function that turns a `kind` into plain data, None if it is plain already."""
    if is_dataclass(kind):
        return getattr(kind, "to_json", None) or _object_writer(kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return _union_writer(args)
    if origin is tuple:
        return _list_writer(args)
    if origin in {dict, Mapping}:
        return _mapping_writer(args[1])
    return None


def _json_names(kind: Any) -> list[tuple[str, str, bool]]:
    """Return for each field its name, its JSON name and whether None is omitted."""
    return [
        (one.name, one.metadata.get("json", one.name), one.metadata.get("omit", False))
        for one in fields(kind)
    ]


def _object_writer(kind: Any) -> Converter:
    hints = get_type_hints(kind)
    columns = [(*names, _writer(hints[names[0]])) for names in _json_names(kind)]
    plain = [(name, shown) for name, shown, omit, write in columns if not omit and write is None]
    if len(plain) == len(columns):
        return lambda item: {shown: getattr(item, name) for name, shown in plain}

    def write_object(item: Any) -> dict[str, Any]:
        found = {}
        for name, shown, omit, write in columns:
            value = getattr(item, name)
            if value is not None or not omit:
                found[shown] = value if write is None else write(value)
        return found

    return write_object


def _union_writer(args: tuple[Any, ...]) -> Converter | None:
    writers = {get_origin(one) or one: _writer(one) for one in args}
    if not any(writers.values()):
        return None

    def write_union(value: Any) -> Any:
        write = writers.get(type(value))
        return value if write is None else write(value)

    return write_union


def _list_writer(args: tuple[Any, ...]) -> Converter:
    write = _writer(args[0])
    return list if write is None else lambda value: [write(one) for one in value]


def _mapping_writer(kind: Any) -> Converter:
    write = _writer(kind)
    return dict if write is None else lambda value: {key: write(one) for key, one in value.items()}


# Reading


@cache
def _reader(kind: Any) -> Converter:
    if is_dataclass(kind):
        return getattr(kind, "from_json", None) or _object_reader(kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin in _GENERIC:
        return _GENERIC[origin](args)
    allowed = {int, float} if kind is float else {kind}
    return lambda value: value if type(value) in allowed else _refuse(value, kind.__name__)


def _literal_reader(args: tuple[Any, ...]) -> Converter:
    return lambda value: value if value in args else _refuse(value, f"one of {args}")


def _refuse(value: Any, wanted: str) -> Any:
    raise TypeError(f"{repr(value)[:40]} instead of {wanted}")


def _mapping(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        _refuse(value, "an object")
    return cast("dict[str, Any]", value)


def _object_reader(kind: Any) -> Converter:
    hints = get_type_hints(kind)
    optional = {
        one.name
        for one in fields(kind)
        if one.default is not MISSING or one.default_factory is not MISSING
    }
    columns = [(name, shown, _reader(hints[name])) for name, shown, _ in _json_names(kind)]

    def read_object(value: Any) -> Any:
        data = _mapping(value)
        return kind(
            **{
                name: read(data[shown])
                for name, shown, read in columns
                if shown in data or name not in optional
            }
        )

    return read_object


def _optional_reader(args: tuple[Any, ...]) -> Converter:
    (read,) = (_reader(one) for one in args if one is not NoneType)
    return lambda value: None if value is None else read(value)


def _list_reader(args: tuple[Any, ...]) -> Converter:
    read = _reader(args[0])

    def read_list(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or (args[-1] is not Ellipsis and len(value) != len(args)):
            _refuse(value, "an array")
        return tuple(read(one) for one in value)

    return read_list


def _mapping_reader(args: tuple[Any, ...]) -> Converter:
    read = _reader(args[1])
    return lambda value: {key: read(one) for key, one in _mapping(value).items()}


_GENERIC: dict[Any, Callable[[tuple[Any, ...]], Converter]] = {
    Union: _optional_reader,
    UnionType: _optional_reader,
    tuple: _list_reader,
    dict: _mapping_reader,
    Mapping: _mapping_reader,
    Literal: _literal_reader,
}
