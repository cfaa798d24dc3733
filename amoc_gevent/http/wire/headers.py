"""Header fields: a case-insensitive mapping, parsing of raw heads, encoding with checks."""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping

from amoc_gevent.http.errors import INVALID_HEADER, InvalidHeader

is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
"""Match a token, such as a header name or a method (RFC 9110, 5.6.2)."""
_FORBIDDEN = re.compile(r"[\r\n\0]").search


class Headers(MutableMapping[str, str]):
    """Header fields by case-insensitive name. Fields with one name are joined by ", ".

    `version` changes with each change, so that callers can cache values made from the fields.
    """

    __slots__ = ("_fields", "version")

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, tuple[str, str]] = {}
        self.version = 0
        self.update(fields)

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()][1]

    def __setitem__(self, name: str, value: str) -> None:
        if isinstance(name, bytes):
            name = name.decode("latin-1")
        self._fields[name.lower()] = (name, value)
        self.version += 1

    def __delitem__(self, name: str) -> None:
        del self._fields[name.lower()]
        self.version += 1

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        theirs = other if isinstance(other, Headers) else Headers(other)
        return {k: v for k, (_, v) in self._fields.items()} == {
            k: v for k, (_, v) in theirs._fields.items()
        }

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def add(self, name: str, value: str) -> None:
        """Add a field and keep existing ones of this name."""
        known = self._fields.get(name.lower())
        self[name] = value if known is None else f"{known[1]}, {value}"

    def override(self, names: frozenset[str]) -> bool:
        """Return whether there is a field of `names` (lower case), or one with the value None."""
        fields = self._fields
        return not names.isdisjoint(fields) or any(v is None for _, v in fields.values())

    def copy(self) -> "Headers":
        """Return an independent copy."""
        return Headers(self)


def parse(head: bytes) -> list[tuple[str, str]]:
    """Return the fields of a raw head in order, one entry for each line."""
    fields = []
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        fields.append((name, value.strip(" \t")))
    return fields


def values(head: bytes, name: bytes) -> list[str]:
    """Return the values of all fields called `name` (lower case) in a raw head."""
    return [
        line.partition(b":")[2].strip(b" \t").decode("latin-1")
        for line in head.split(b"\r\n")[1:]
        if line[: len(name) + 1].lower() == name + b":"
    ]


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """Encode fields as header lines. Raises InvalidHeader for bad names and line breaks."""
    lines = []
    for name, value in fields:
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if not is_token(name):
            raise InvalidHeader(INVALID_HEADER, f"{name!r} is not a valid header name")
        if _FORBIDDEN(text):
            raise InvalidHeader(INVALID_HEADER, f"the value of {name} has a line break: {text!r}")
        lines.append(f"{name}: {text}\r\n")
    joined = "".join(lines)
    try:
        return joined.encode("latin-1")
    except UnicodeEncodeError:
        return joined.encode()
