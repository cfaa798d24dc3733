"""Parses verbs for the shell, the prompt and the console. To add one, see `core/run/commands.py`.

Each becomes a request to the control socket, with the way to show its answer.
"""

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from inspect import getdoc
from typing import Any, NamedTuple, get_type_hints

import click

from amoc_gevent.cli.params import (
    DURATION,
    TEXT,
    USER_ID,
    ids_of,
    option_params,
    pairs,
    users_option,
)
from amoc_gevent.core.run.commands import VERBS, Do
from amoc_gevent.core.run.options import OPTIONS
from amoc_gevent.core.run.plan import Options
from amoc_gevent.errors import UsageError

Request = dict[str, Any]


class Invocation(NamedTuple):
    """A request, whether to show the answer as JSON, and whether to wait for the effect."""

    request: Request
    as_json: bool = False
    wait: bool = False


class _Names(click.ParamType[list[str]]):
    """Names of nodes, separated by commas."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Return the names as a list, in their order."""
        names = [name.strip() for name in TEXT.convert(value, param, ctx).split(",")]
        if not all(names):
            self.fail(f"{value!r}: write names of nodes as one,two,three", param, ctx)
        return names


@click.group(name="", add_help_option=False)
def verbs() -> None:
    """Control the run."""


WAITS = {
    "do": "Do not wait until the users start.",
    "stop": "Do not wait until all users have ended.",
}
"""The verbs that wait for their effect, with the help of their `--no-wait`."""


def _add_verb(verb: str, about: str, params: list[click.Parameter]) -> None:
    """Add a verb to the group, with --json and --no-wait."""

    def callback(*, as_json: bool, no_wait: bool = True, **given: Any) -> Invocation:
        return Invocation(_request(verb, given), as_json, not no_wait)

    if verb in WAITS:
        params = [*params, click.Option(["--no-wait"], is_flag=True, help=WAITS[verb])]
    option = click.Option(["--json", "as_json"], is_flag=True, help="Write the answer as JSON.")
    verbs.add_command(click.Command(verb, params=[*params, option], callback=callback, help=about))


def _request(verb: str, given: dict[str, Any]) -> Request:
    """Return the request of a verb with its arguments; settings and options are objects."""
    options = {name: given.pop(name) for name in OPTIONS if name in given}
    if "users" in given:
        given["first"], given["last"] = ids_of(given["first"], given["last"], given.pop("users"))
    if "settings" in given:
        given["settings"] = pairs(given["settings"])
        given["options"] = {name: text for name, text in options.items() if text is not None}
    return {"command": verb, **{name: one for name, one in given.items() if one is not None}}


def _params_of(kind: Any) -> list[click.Parameter]:
    """Return the arguments and options of a command, made from its fields."""
    hints = get_type_hints(kind)
    found: list[click.Parameter] = []
    for one in fields(kind):
        if hints[one.name] is Options:
            found += option_params()
        elif not one.metadata.get("hidden"):
            found.append(_param(one, hints[one.name]))
    if kind is Do:
        for first_or_last in found[1:3]:
            first_or_last.required = False  # as -u can be given instead
            first_or_last.type = USER_ID
        found[3:3] = [users_option(), _interarrival()]
    return found


def _interarrival() -> click.Option:
    """Return a hidden option of `do` that names the option to use instead."""

    def refuse(_context: click.Context, _option: click.Parameter, seconds: float | None) -> None:
        if seconds is not None:
            rate = f"{1 / seconds:g}/s" if seconds else "20/s"
            raise UsageError(f"do has no --interarrival: give the rate, --user-rate {rate}")

    return click.Option(
        ["--interarrival"],
        type=DURATION,
        hidden=True,
        expose_value=False,
        callback=refuse,
        help="Refused: --user-rate is given instead.",
    )


def _param(one: "Field[Any]", hint: Any) -> click.Parameter:
    """Return the argument or option of one field; an option that is not given is None."""
    text: Any = int if hint is int else TEXT
    if one.default is one.default_factory is MISSING:
        return click.Argument([one.name], type=text)
    if one.metadata.get("argument"):
        return click.Argument([one.name], type=text, default=one.default)
    about, metavar = one.metadata.get("help"), one.metadata.get("metavar")
    if hint is bool:
        return click.Option([f"--{one.name}"], is_flag=True, help=about)
    if hint == Mapping[str, str]:
        return click.Option(["--set", one.name], multiple=True, metavar=metavar, help=about)
    choices = one.metadata.get("choices")
    return click.Option(
        [f"--{one.name}"],
        type=_Names() if hint == tuple[str, ...] else click.Choice(choices) if choices else TEXT,
        default=one.default or None,
        metavar=metavar,
        help=about,
    )


for _name, _kind in VERBS.items():
    _add_verb(_name, (getdoc(_kind) or "").partition("\n\n")[0], _params_of(_kind))
_add_verb("watch", "Watch the run until it ends; q or Ctrl-C leaves it running.", [])


ABOUT = {
    "help": "help [VERB]\n\n  List the verbs, or explain one.",
    "exit": "exit\n\n  Leave the prompt, as quit and Ctrl-D do.",
    "quit": "quit\n\n  Leave the prompt, as exit and Ctrl-D do.",
}
"""The help of the words that only a prompt has."""


def parse_line(line: str) -> Invocation | str:
    """Parse a line into a request or a help text.

    Raises UsageError for anything else.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line!r}: {error}") from error
    if words and words[0] == "help":
        words = [*words[1:2], "--help"]
    if words and words[0] in ABOUT:
        return ABOUT[words[0]]
    if words == ["--help"]:
        rows = [f"  {name:<9} {command.get_short_help_str(70)}" for name, command in _verbs()]
        return "\n".join([*rows, "  help VERB explains one; exit or Ctrl-D leaves"])
    if not words or words[0] not in verbs.commands:
        known = ", ".join([*verbs.commands, "help", "exit"])
        raise UsageError(f"there is no verb {words[0] if words else ''!r}; there are {known}")
    if words[0] == "describe" and words[1:] and not words[1].startswith("-"):
        raise UsageError(f"describe shows the run's scenario; another: `amoc describe {words[1]}`")
    command = verbs.commands[words[0]]
    if "--help" in words:
        return command.get_help(click.Context(command, info_name=words[0]))
    try:
        with command.make_context(words[0], words[1:]) as context:
            asked: Invocation = command.invoke(context)
    except click.ClickException as error:
        usage = command.get_usage(click.Context(command, info_name=words[0]))
        message = error.format_message().rstrip(".")
        raise UsageError(f"{message} ({usage.removeprefix('Usage: ')})") from error
    return asked


def _verbs() -> list[tuple[str, click.Command]]:
    return list(verbs.commands.items())


def flags_of(verb: str) -> list[str]:
    """Return the options that `verb` takes, for completion."""
    command = verbs.commands.get(verb)
    params = command.params if command is not None else []
    options = [one for one in params if isinstance(one, click.Option) and not one.hidden]
    return [flag for option in options for flag in option.opts]
