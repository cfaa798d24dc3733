"""The verbs: one definition for the shell, the attach prompt and the console.

Each becomes a request to the control socket, and says how its answer is to be shown.
"""

import shlex
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import click

from amoc_gevent.cli.params import TEXT, pairs
from amoc_gevent.core.run.options import OPTIONS
from amoc_gevent.core.run.plan import STRATEGIES
from amoc_gevent.errors import UsageError

Request = dict[str, Any]


class Asked(NamedTuple):
    """A request, whether its answer is shown as JSON, and whether its effect is waited for."""

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
    """Steer the run."""


def _verb(name: str, *, waits: str = "") -> Callable[[Callable[..., Request]], click.Command]:
    """Make a verb of a function that returns a request; `waits` is the help of its `--no-wait`."""

    def made(function: Callable[..., Request]) -> click.Command:
        @wraps(function)
        def callback(*, as_json: bool, no_wait: bool = True, **given: Any) -> Asked:
            return Asked(function(**given), as_json, not no_wait)

        option = click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
        decorated = option(callback)
        if waits:
            decorated = click.option("--no-wait", is_flag=True, help=waits)(decorated)
        return verbs.command(name)(decorated)

    return made


def _option_flags(function: Any) -> Any:
    for name in reversed(OPTIONS):
        function = click.option(f"--{name.replace('_', '-')}", name, metavar="VALUE")(function)
    return function


_nodes = click.option("--nodes", type=_Names(), metavar="NAME,...", help="Only on these nodes.")


def _on(request: Request, nodes: list[str] | None) -> Request:
    return request if nodes is None else {**request, "nodes": nodes}


@_verb("do", waits="Do not wait until the users start.")
@click.argument("scenario", type=TEXT)
@click.argument("first", type=int)
@click.argument("last", type=int)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a setting.")
@click.option("--duration", metavar="TIME", help="End gently after this time.")
@click.option("--comment", type=TEXT, default="", help="Goes into the summary.")
@_nodes
@click.option("--strategy", type=click.Choice(STRATEGIES), help="How users are spread over nodes.")
@_option_flags
def do(
    scenario: str,
    first: int,
    last: int,
    settings: tuple[str, ...],
    duration: str | None,
    comment: str,
    nodes: list[str] | None,
    strategy: str | None,
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
    given = {"duration": duration, "strategy": strategy}
    return _on(request | {name: text for name, text in given.items() if text is not None}, nodes)


@_verb("add")
@click.argument("count", type=int)
@_nodes
def add(count: int, nodes: list[str] | None) -> Request:
    """Add COUNT users, under the next ids."""
    return _on({"command": "add", "count": count}, nodes)


@_verb("remove")
@click.argument("count", type=int)
@click.option("--force", is_flag=True, help="End them at once, in the middle of what they do.")
@_nodes
def remove(count: int, *, force: bool, nodes: list[str] | None) -> Request:
    """Remove the COUNT users with the highest ids."""
    return _on({"command": "remove", "count": count, "force": force}, nodes)


@_verb("set")
@click.argument("name", type=TEXT)
@click.argument("value", type=TEXT)
def set_(name: str, value: str) -> Request:
    """Change a setting of the scenario, or an option such as user_rate."""
    return {"command": "set", "name": name, "value": value}


@_verb("pause")
def pause() -> Request:
    """Start no new users; those that have started go on."""
    return {"command": "pause"}


@_verb("resume")
def resume() -> Request:
    """Start users again, from where pause stopped."""
    return {"command": "resume"}


@_verb("rebalance")
def rebalance() -> Request:
    """Spread the users evenly over the nodes there are now."""
    return {"command": "rebalance"}


@_verb("stop", waits="Do not wait until all users have ended.")
@click.option("--force", is_flag=True, help="At once, in the middle of what users do.")
def stop(*, force: bool) -> Request:
    """End the run."""
    return {"command": "stop", "force": force}


@_verb("status")
def status() -> Request:
    """Show the run, its users and operations."""
    return {"command": "status"}


@_verb("nodes")
def nodes_() -> Request:
    """Show the nodes, what each of them does and how it fares."""
    return {"command": "nodes"}


@_verb("runs")
def runs() -> Request:
    """List the runs, the latest first."""
    return {"command": "runs"}


@_verb("summary")
@click.argument("run", type=TEXT, default="")
def summary(run: str) -> Request:
    """Show what RUN did, or the latest run."""
    return {"command": "summary", "run": run}


@_verb("watch")
def watch() -> Request:
    """Watch the run until it ends; q or Ctrl-C leaves it running."""
    return {"command": "watch"}


ABOUT = {
    "help": "help [VERB]\n\n  Show the verbs, or more of one.",
    "exit": "exit\n\n  Leave the prompt, as quit and Ctrl-D do.",
    "quit": "quit\n\n  Leave the prompt, as exit and Ctrl-D do.",
}
"""What help says of the words of the prompt that ask nothing of the run."""


def asked_by(line: str) -> Asked | str:
    """Return what `line` asks for: a request, or a text of help.

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
        return "\n".join([*rows, "  help VERB says more; exit or Ctrl-D leaves"])
    if not words or words[0] not in verbs.commands:
        known = ", ".join([*verbs.commands, "help", "exit"])
        raise UsageError(f"there is no verb {words[0] if words else ''!r}; there are {known}")
    command = verbs.commands[words[0]]
    if "--help" in words:
        return command.get_help(click.Context(command, info_name=words[0]))
    try:
        with command.make_context(words[0], words[1:]) as context:
            asked: Asked = command.invoke(context)
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
    options = command.params if command is not None else []
    return [flag for option in options if isinstance(option, click.Option) for flag in option.opts]
