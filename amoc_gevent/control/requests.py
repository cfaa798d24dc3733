"""Parses commands from JSON objects of the control socket: `{"command": "add", "count": 10}`.

To add one, see `core/run/commands.py`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, cast, get_type_hints

from amoc_gevent.core.run.commands import VERBS, Command
from amoc_gevent.core.run.options import changed_option
from amoc_gevent.core.run.plan import Options
from amoc_gevent.core.units import parse_duration
from amoc_gevent.errors import UsageError

NUMBER_MAX = 2**53
"""The largest number in a request: that of ids, which any JSON reader keeps exactly."""

Read = Callable[[str, str, Any], Any]
"""Converts a field's JSON; takes verb, field name and JSON. Raises UsageError."""


def _plain(kind: type) -> Read:
    def read(verb: str, name: str, value: Any) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UsageError(f"{verb}: {name} must be {_KINDS[kind]}, not {value!r}")
        if isinstance(value, int) and abs(value) > NUMBER_MAX:
            raise UsageError(f"{verb}: {name} must be {NUMBER_MAX} at most")
        return value

    return read


_KINDS = {
    int: "a whole number",
    str: "text",
    bool: "true or false",
    dict: "an object of texts",
    list: "a list of texts",
}
_texts_of, _list_of, _text_of = _plain(dict), _plain(list), _plain(str)


def _texts(verb: str, name: str, value: Any) -> dict[str, str]:
    given: dict[str, str] = _texts_of(verb, name, value)
    for key, text in given.items():
        _text_of(f"{verb}: {name}", key, text)
    return given


def _names(verb: str, name: str, value: Any) -> tuple[str, ...]:
    """Return the node names in their order. Raises UsageError for a duplicate."""
    given: list[str] = _list_of(verb, name, value)
    for one in given:
        if not isinstance(one, str):
            raise UsageError(f"{verb}: {name}: {one!r} is not the name of a node")
        if given.count(one) > 1:
            raise UsageError(f"{verb}: {name}: {one} is named twice")
    return tuple(given)


def _options(verb: str, name: str, value: Any) -> Options:
    options = Options()
    for key, text in _texts(verb, name, value).items():
        options = changed_option(options, key, text)
    return options


def _seconds(verb: str, name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        return parse_duration(_text_of(verb, name, value))
    except ValueError as error:
        raise UsageError(f"{verb}: {name}: {error}") from error


_READERS: dict[Any, Read] = {
    int: _plain(int),
    str: _plain(str),
    bool: _plain(bool),
    Mapping[str, str]: _texts,
    tuple[str, ...]: _names,
    Options: _options,
    float | None: _seconds,
}


@cache
def _columns(kind: Any) -> list[tuple[str, Read, bool]]:
    """Return the name and reader of each field of a command, and whether it is required."""
    hints = get_type_hints(kind)
    return [
        (one.name, _READERS[hints[one.name]], one.default is one.default_factory is MISSING)
        for one in fields(kind)
    ]


def name_of(request: object) -> str:
    """Return the command name of a decoded request, or "" if it has none."""
    name = request.get("command") if isinstance(request, dict) else None
    return name if isinstance(name, str) else ""


def command_of(request: object, others: Iterable[str] = ()) -> Command:
    """Return the command of a decoded request. Raises UsageError.

    `others` are further valid names, to be listed in the error.
    """
    verb = name_of(request)
    if verb not in VERBS:
        known = ", ".join(dict.fromkeys([*VERBS, *others]))
        raise UsageError(f'a request is an object {{"command": ...}} with one of: {known}')
    given = cast("dict[str, Any]", request)
    kind: Any = VERBS[verb]
    values = {}
    for name, read, required in _columns(kind):
        if name in given:
            values[name] = read(verb, name, given[name])
        elif required:
            raise UsageError(f"{verb}: {name} is missing")
    return VERBS[verb](**values)
