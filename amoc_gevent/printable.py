"""Escapes text from elsewhere for a terminal: no control characters, line breaks or bidi marks."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

_STYLE = re.compile(r"(\x1b\[[0-9;]*m)")
"""Sets colours and styles only (ECMA-48, SGR)."""


def printable(text: str) -> str:
    r"""Return `text` in one line: unprintable characters become escapes such as `\n` or `\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str, *, styled: bool = False) -> str:
    """Return `text` with each of its lines made printable; `styled` keeps colours and styles."""
    return "\n".join(map(_styled if styled else printable, text.split("\n")))


def printable_fields(value: Any, *, lines: tuple[str, ...] = ()) -> Any:
    """Return a copy of a dataclass with all its strings made printable, at any depth.

    The text fields named in `lines` keep their line breaks.
    """
    if isinstance(value, str):
        return printable(value)
    if is_dataclass(value) and not isinstance(value, type):
        found = {}
        for one in fields(value):
            inner = getattr(value, one.name)
            if one.name in lines and isinstance(inner, str):
                found[one.name] = printable_lines(inner)
            else:
                found[one.name] = printable_fields(inner, lines=lines)
        return replace(value, **found)
    if isinstance(value, Mapping):
        return {printable(key): printable_fields(one, lines=lines) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(printable_fields(one, lines=lines) for one in value)
    return value


def _styled(line: str) -> str:
    parts = _STYLE.split(line)
    return "".join(part if at % 2 else printable(part) for at, part in enumerate(parts))
