"""The verbs of the prompt: a line that a person types, as a request to the control socket."""

import shlex
from typing import Any

import click

from amoc_gevent.cli.params import TEXT, pairs
from amoc_gevent.core.options import OPTIONS
from amoc_gevent.errors import UsageError

Request = dict[str, Any]


@click.group(name="", add_help_option=False)
def verbs() -> None:
    """Steer the run."""


def _option_flags(function: Any) -> Any:
    for name in reversed(OPTIONS):
        function = click.option(f"--{name.replace('_', '-')}", name, metavar="VALUE")(function)
    return function


@verbs.command()
@click.argument("scenario")
@click.argument("first", type=int)
@click.argument("last", type=int)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a setting.")
@click.option("--duration", metavar="TIME", help="End gently after this time.")
@click.option("--comment", type=TEXT, default="", help="Goes into the summary.")
@_option_flags
def do(
    scenario: str,
    first: int,
    last: int,
    settings: tuple[str, ...],
    duration: str | None,
    comment: str,
    **options: str | None,
) -> Request:
    """Start a run of SCENARIO with the users FIRST to LAST."""
    request: Request = {
        "command": "do",
        "scenario": scenario,
        "first": first,
        "last": last,
        "settings": pairs(settings),
        "options": {name: text for name, text in options.items() if text is not None},
        "comment": comment,
    }
    return request if duration is None else {**request, "duration": duration}


@verbs.command()
@click.argument("count", type=int)
def add(count: int) -> Request:
    """Add COUNT users, under the next ids."""
    return {"command": "add", "count": count}


@verbs.command()
@click.argument("count", type=int)
@click.option("--force", is_flag=True, help="End them at once, in the middle of what they do.")
def remove(count: int, *, force: bool) -> Request:
    """Remove the COUNT users with the highest ids."""
    return {"command": "remove", "count": count, "force": force}


@verbs.command(name="set")
@click.argument("name")
@click.argument("value")
def set_(name: str, value: str) -> Request:
    """Change a setting of the scenario, or an option such as user_rate."""
    return {"command": "set", "name": name, "value": value}


@verbs.command()
@click.option("--force", is_flag=True, help="At once, in the middle of what users do.")
def stop(*, force: bool) -> Request:
    """End the run."""
    return {"command": "stop", "force": force}


@verbs.command()
def status() -> Request:
    """Show the run, its users and operations."""
    return {"command": "status"}


def request_of(line: str) -> Request | str:
    """Return the request that `line` asks for, or the help text that it asks for.

    Raises UsageError for anything else.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line!r}: {error}") from error
    if words and words[0] == "help":
        words = [*words[1:2], "--help"]
    if words == ["--help"]:
        rows = [f"  {name:<8} {command.short_help}" for name, command in _helps()]
        return "\n".join([*rows, "  help VERB says more; exit or Ctrl-D leaves"])
    if not words or words[0] not in verbs.commands:
        known = ", ".join([*verbs.commands, "help", "exit"])
        raise UsageError(f"there is no verb {words[0] if words else ''!r}; there are {known}")
    command = verbs.commands[words[0]]
    if "--help" in words:
        return command.get_help(click.Context(command, info_name=words[0]))
    try:
        with command.make_context(words[0], words[1:]) as context:
            request: Request = command.invoke(context)
    except click.ClickException as error:
        usage = command.get_usage(click.Context(command, info_name=words[0]))
        message = error.format_message().rstrip(".")
        raise UsageError(f"{message} ({usage.removeprefix('Usage: ')})") from error
    return request


def _helps() -> list[tuple[str, click.Command]]:
    for command in verbs.commands.values():
        command.short_help = command.get_short_help_str(70)
    return list(verbs.commands.items())


def flags_of(verb: str) -> list[str]:
    """Return the options that `verb` takes, for completion."""
    command = verbs.commands.get(verb)
    options = command.params if command is not None else []
    return [flag for option in options if isinstance(option, click.Option) for flag in option.opts]
