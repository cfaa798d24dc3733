"""Commands as JSON objects, for the control socket: `{"command": "add", "count": 10}`."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from amoc_gevent.core.commands import Add, Command, Do, Remove, Set, Status, Stop
from amoc_gevent.core.options import changed_option
from amoc_gevent.core.plan import Options
from amoc_gevent.core.units import parse_duration
from amoc_gevent.errors import UsageError

_REQUIRED = object()


def _field(request: Mapping[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:
    value = request.get(name, default)
    if value is _REQUIRED:
        raise UsageError(f"{request['command']}: {name} is missing")
    right = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if value is not default and not right:
        raise UsageError(f"{request['command']}: {name} must be {_KINDS[kind]}, not {value!r}")
    return value


_KINDS = {int: "a whole number", str: "text", bool: "true or false", dict: "an object of texts"}


def _texts(request: Mapping[str, Any], name: str) -> dict[str, str]:
    given: dict[str, str] = _field(request, name, dict, {})
    for key, value in given.items():
        if not isinstance(value, str):
            raise UsageError(f"{request['command']}: {name}: {key} must be text, not {value!r}")
    return given


def _do(request: Mapping[str, Any]) -> Do:
    options = Options()
    for name, text in _texts(request, "options").items():
        options = changed_option(options, name, text)
    duration = _field(request, "duration", str, None)
    try:
        seconds = parse_duration(duration) if duration is not None else None
    except ValueError as error:
        raise UsageError(f"do: duration: {error}") from error
    return Do(
        _field(request, "scenario", str),
        _field(request, "first", int),
        _field(request, "last", int),
        settings=_texts(request, "settings"),
        options=options,
        duration=seconds,
        comment=_field(request, "comment", str, ""),
    )


_DECODERS: dict[str, Callable[[Mapping[str, Any]], Command]] = {
    "do": _do,
    "add": lambda r: Add(_field(r, "count", int)),
    "remove": lambda r: Remove(_field(r, "count", int), _field(r, "force", bool, False)),
    "set": lambda r: Set(_field(r, "name", str), _field(r, "value", str)),
    "stop": lambda r: Stop(_field(r, "force", bool, False)),
    "status": lambda _: Status(),
}


def command_of(request: object) -> Command:
    """Return the command that a decoded JSON object asks for, or raise UsageError."""
    name = request.get("command") if isinstance(request, dict) else None
    if not isinstance(name, str) or name not in _DECODERS:
        known = ", ".join(_DECODERS)
        raise UsageError(f'a request is an object {{"command": ...}} with one of: {known}')
    return _DECODERS[name](cast("dict[str, Any]", request))
