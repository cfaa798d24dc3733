"""Types of options: times such as `30s` and rates such as `20/s`."""

from collections.abc import Callable, Iterable
from typing import Any

import click

from amoc_gevent.core import units
from amoc_gevent.core.run.commands import check_ids
from amoc_gevent.core.run.options import ITERATIONS_MAX, RUN_OPTIONS, RunOption
from amoc_gevent.errors import UsageError

PORTS = (5710, 5711)
"""A master's default ports, for the plan and for the reports."""


class _Quantity(click.ParamType[float]):
    """A number with a unit, read by a function that raises ValueError."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; a value that is one already (a default) stays as it is."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = _Quantity("time", units.parse_duration)
"""Seconds (float), written 500ms, 30s, 5m, 1h or 1m30s."""

RATE = _Quantity("rate", units.parse_rate)
"""Rate per second (float), written 20/s, 1200/min or 5/h."""


class _UserId(click.IntRange):
    """The id of a user; a text there is often a scenario in the wrong place."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the id."""
        try:
            int(value)
        except ValueError:
            told = f"{value!r} is not a number: SCENARIO comes first, then FIRST and LAST"
            self.fail(told, param, ctx)
        return super().convert(value, param, ctx)


USER_ID = _UserId(min=1)
"""The argument FIRST or LAST (int)."""


def users_option() -> click.Option:
    """Return the option that stands for the users 1 to a number."""
    return click.Option(
        ["-u", "--users"],
        type=click.IntRange(min=1),
        help="Short for FIRST 1 and LAST this number.",
    )


def ids_of(first: int | None, last: int | None, users: int | None) -> tuple[int, int]:
    """Return the first and the last id, given as two arguments or as a number of users.

    Raises UsageError for neither, for both, and for ids that cannot be.
    """
    if users is not None and first is None and last is None:
        first, last = 1, users
    elif users is not None or first is None or last is None:
        raise UsageError("give the users after SCENARIO, as FIRST LAST such as 1 100, or as -u 100")
    check_ids(first, last)
    return first, last


def option_params() -> list[click.Option]:
    """Return all options of a run, for values that the master checks.

    A value is text, or None if the option is not given. Only choices are checked here.
    """
    return [
        click.Option(
            [_flag(one), one.name],
            type=click.Choice(one.choices) if one.choices else TEXT,
            metavar=_METAVARS.get(one.kind),
            help=one.help,
        )
        for one in RUN_OPTIONS.values()
    ]


def run_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds these options of a run to a command, checked and typed."""

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        for one in reversed([RUN_OPTIONS[name] for name in names]):
            function = click.option(
                _flag(one), one.name, type=_typed(one), default=one.default, help=one.help
            )(function)
        return function

    return decorated


def _flag(option: RunOption) -> str:
    return f"--{option.name.replace('_', '-')}"


_METAVARS = {"rate": "RATE", "time": "TIME", "count": "NUMBER"}


def _typed(option: RunOption) -> Any:
    kinds = {"rate": RATE, "time": DURATION, "count": click.IntRange(0, ITERATIONS_MAX)}
    return click.Choice(option.choices) if option.choices else kinds[option.kind]


class _Utf8(click.ParamType[str]):
    """Text that must be valid UTF-8, as other text can be neither sent nor written."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text as it is."""
        text = str(value)
        if not _is_utf8(text):
            self.fail(f"{text!a} is not UTF-8", param, ctx)
        return text


TEXT = _Utf8()
"""A text (str) that can be encoded."""


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def pairs(given: Iterable[str]) -> dict[str, str]:
    """Return `--set NAME=VALUE` options as a dict.

    Raises UsageError for one without its `=` or with bytes that are not UTF-8.
    """
    found = {}
    for text in given:
        if not _is_utf8(text):
            raise UsageError(f"--set {text!a}: it is not UTF-8")
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise UsageError(f"--set {text}: write it as NAME=VALUE")
        found[name.strip()] = value
    return found


def needs(other: str, **given: object) -> None:
    """Raise UsageError if one of the options was given. They need the option `other`."""
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"--{name.replace('_', '-')} needs {other}")
