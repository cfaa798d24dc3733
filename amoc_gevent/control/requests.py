"""Commands as JSON objects, for the control socket: `{"command": "add", "count": 10}`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from amoc_gevent.core.run.commands import (
    Add,
    Command,
    Describe,
    Do,
    Nodes,
    Pause,
    Rebalance,
    Remove,
    Resume,
    Runs,
    Set,
    Status,
    Stop,
    Summary,
)
from amoc_gevent.core.run.options import changed_option
from amoc_gevent.core.run.plan import Options
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


_KINDS = {
    int: "a whole number",
    str: "text",
    bool: "true or false",
    dict: "an object of texts",
    list: "a list of texts",
}


def _texts(request: Mapping[str, Any], name: str) -> dict[str, str]:
    given: dict[str, str] = _field(request, name, dict, {})
    for key, value in given.items():
        if not isinstance(value, str):
            raise UsageError(f"{request['command']}: {name}: {key} must be text, not {value!r}")
    return given


def _names(request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the nodes that are named, in their order; none: all of them."""
    given: list[str] = _field(request, "nodes", list, [])
    for name in given:
        if not isinstance(name, str):
            raise UsageError(f"{request['command']}: nodes: {name!r} is not the name of a node")
        if given.count(name) > 1:
            raise UsageError(f"{request['command']}: nodes: {name} is there twice")
    return tuple(given)


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
        nodes=_names(request),
        strategy=_field(request, "strategy", str, ""),
    )


def _add(request: Mapping[str, Any]) -> Add:
    return Add(_field(request, "count", int), _names(request))


def _remove(request: Mapping[str, Any]) -> Remove:
    return Remove(
        _field(request, "count", int), _field(request, "force", bool, False), _names(request)
    )


_DECODERS: dict[str, Callable[[Mapping[str, Any]], Command]] = {
    "do": _do,
    "add": _add,
    "remove": _remove,
    "set": lambda r: Set(_field(r, "name", str), _field(r, "value", str)),
    "pause": lambda _: Pause(),
    "resume": lambda _: Resume(),
    "rebalance": lambda _: Rebalance(),
    "stop": lambda r: Stop(_field(r, "force", bool, False)),
    "status": lambda _: Status(),
    "describe": lambda _: Describe(),
    "nodes": lambda _: Nodes(),
    "runs": lambda _: Runs(),
    "summary": lambda r: Summary(_field(r, "run", str, "")),
}


def name_of(request: object) -> str:
    """Return what a decoded JSON object asks for, "" where it does not say it."""
    name = request.get("command") if isinstance(request, dict) else None
    return name if isinstance(name, str) else ""


def command_of(request: object, others: Iterable[str] = ()) -> Command:
    """Return the command that a decoded JSON object asks for, or raise UsageError.

    `others` are names that are valid as well, for the error to tell.
    """
    name = name_of(request)
    if name not in _DECODERS:
        known = ", ".join(dict.fromkeys([*_DECODERS, *others]))
        raise UsageError(f'a request is an object {{"command": ...}} with one of: {known}')
    return _DECODERS[name](cast("dict[str, Any]", request))
