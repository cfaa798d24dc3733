"""The options of a run by name: which may be changed while it goes on, and what they may be."""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite

from amoc_gevent.core.run.plan import ON_NODE_LOSS, ON_USER_ERROR, Options
from amoc_gevent.core.units import parse_duration, parse_rate
from amoc_gevent.errors import UsageError


def _on_user_error(text: str) -> str:
    if text not in ON_USER_ERROR:
        raise ValueError(f"{text!r} is none of {', '.join(ON_USER_ERROR)}")
    return text


def _on_node_loss(text: str) -> str:
    if text not in ON_NODE_LOSS:
        raise ValueError(f"{text!r} is none of {', '.join(ON_NODE_LOSS)}")
    return text


def _rounds(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a number of rounds (0: without end)")
    return int(text)


def _finite(parse: Callable[[str], float]) -> Callable[[str], float]:
    def parsed(text: str) -> float:
        value = parse(text)
        if not isfinite(value):
            raise ValueError("a number without bounds")
        return value

    return parsed


_PARSERS: dict[str, Callable[[str], object]] = {
    "user_rate": _finite(parse_rate),
    "repeat_interval": _finite(parse_duration),
    "repeat_num": _rounds,
    "on_user_error": _on_user_error,
    "stop_timeout": _finite(parse_duration),
    "on_node_loss": _on_node_loss,
}

OPTIONS = tuple(_PARSERS)
"""The names of the options of a run."""


def changed_option(options: Options, name: str, text: str) -> Options:
    """Return `options` with `name` set to what `text` says. UsageError names what is wrong."""
    if name not in _PARSERS:
        raise UsageError(f"there is no option {name}; there are {', '.join(OPTIONS)}")
    try:
        value = _PARSERS[name](text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    return replace(options, **{name: value})  # type: ignore[arg-type]  # each parser's type fits
