"""The command `amoc`: which commands there are, and how it ends when one of them fails.

A command's module is imported when it is called, so that `amoc --help` answers at once.
"""

import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click

from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_INTERRUPTED, EXIT_USAGE, AmocError


class Lazy(NamedTuple):
    """A command that is imported when it is called: "module:attribute" and its line of help."""

    target: str
    help: str
    hidden: bool = False


COMMANDS = {
    "run": Lazy("amoc_gevent.cli.run:run", "Load a service with simulated users."),
    "console": Lazy("amoc_gevent.cli.console:console", "Steer a local run from a prompt."),
    "master": Lazy(
        "amoc_gevent.cli.daemons.master:master", "Start the master of several machines."
    ),
    "node": Lazy(
        "amoc_gevent.cli.daemons.node:node", "Start a machine's node, which joins a master."
    ),
    "attach": Lazy("amoc_gevent.cli.attach:attach", "Steer the master's run from a prompt."),
    "do": Lazy("amoc_gevent.cli.steering.remote:do", "Start a run on the nodes."),
    "add": Lazy("amoc_gevent.cli.steering.remote:add", "Add users to it."),
    "remove": Lazy("amoc_gevent.cli.steering.remote:remove", "Remove users from it."),
    "set": Lazy("amoc_gevent.cli.steering.remote:set_", "Change a setting while it goes on."),
    "pause": Lazy("amoc_gevent.cli.steering.remote:pause", "Start no new users."),
    "resume": Lazy("amoc_gevent.cli.steering.remote:resume", "Start users again."),
    "rebalance": Lazy(
        "amoc_gevent.cli.steering.remote:rebalance", "Spread users evenly over the nodes."
    ),
    "stop": Lazy("amoc_gevent.cli.steering.remote:stop", "End the run."),
    "status": Lazy(
        "amoc_gevent.cli.steering.remote:status", "Show the run, its users and operations."
    ),
    "watch": Lazy("amoc_gevent.cli.steering.remote:watch", "Watch the run until it ends."),
    "nodes": Lazy("amoc_gevent.cli.steering.remote:nodes", "Show the nodes and how they fare."),
    "runs": Lazy("amoc_gevent.cli.steering.remote:runs", "List the runs."),
    "summary": Lazy("amoc_gevent.cli.steering.remote:summary", "Show what a run did."),
    "shutdown": Lazy("amoc_gevent.cli.daemons.shutdown:shutdown", "End the master and the node."),
    "keys": Lazy("amoc_gevent.cli.daemons.keys:keys", "Make and list the keys of machines."),
    "doctor": Lazy("amoc_gevent.cli.doctor:doctor", "Say what will break at so many users."),
    "hosts": Lazy("amoc_gevent.cli.hosts:hosts", "Prepare and deploy to many machines."),
    "try": Lazy("amoc_gevent.cli.try_:try_", "Run a scenario once for one user, in detail."),
    "scenarios": Lazy("amoc_gevent.cli.scenarios:scenarios", "List the scenarios."),
    "describe": Lazy("amoc_gevent.cli.scenarios:describe", "Show a scenario and its settings."),
    "demo": Lazy("amoc_gevent.cli.demo:demo", "Run a server to load."),
    "console-engine": Lazy(
        "amoc_gevent.cli.daemons.console_engine:console_engine", "Load for a console.", hidden=True
    ),
    "worker": Lazy("amoc_gevent.cli.daemons.worker:worker", "Hold users for a node.", hidden=True),
}

EPILOG = """\b
Exit codes:
  0  finished
  1  the run failed, or a daemon refused what was asked
  2  wrong usage: a command, an option, a setting; nothing was started
  130  Ctrl-C, where there was no run to stop"""


class Amoc(click.Group):
    """A group of lazy commands that says every expected error in a line or two."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        module, _, attribute = lazy.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with the one that was probably meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from amoc_gevent.core.suggestions import (  # noqa: PLC0415  # --help does not need it
                did_you_mean,
            )

            known = [name for name, lazy in COMMANDS.items() if not lazy.hidden]
            hint = did_you_mean(args[0], known) or f"there are {', '.join(known)}"
            ctx.fail(f"there is no command {args[0]}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands from the table, importing none of them."""
        with formatter.section("Commands"):
            shown = [(name, lazy.help) for name, lazy in COMMANDS.items() if not lazy.hidden]
            formatter.write_dl(shown)

    def main(  # type: ignore[override]  # it always ends the process
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "amoc",
        **extra: Any,
    ) -> NoReturn:
        """Run the command line and exit with its code; a command may return one, None is 0."""
        extra.pop("standalone_mode", None)
        if sys.stdout is None:  # it was closed before we began
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # as it would be, until the end
        if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be of bytes like no other
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            code = super().main(args, prog_name, standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.ClickException as error:
            code = _usage(error)
        except AmocError as error:
            code = _failed(error)
        except (click.Abort, KeyboardInterrupt):
            code = EXIT_INTERRUPTED
        except OSError as error:
            code = _told(error)
        sys.exit(code if isinstance(code, int) else EXIT_FINISHED)


def _usage(error: click.ClickException) -> int:
    """Write a wrong use of the command line in two lines."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "amoc"
    message = error.format_message()
    if message.startswith("Usage:"):  # a group without a command: its help says what there is
        click.echo(message, err=True)
        return EXIT_USAGE
    click.echo(f"{command}: {message[:1].lower()}{message[1:].rstrip('.')}", err=True)
    click.echo(f"See {command} --help", err=True)
    return EXIT_USAGE


def _failed(error: AmocError) -> int:
    """Write an expected error in a line; the author of a scenario sees the traceback below."""
    from amoc_gevent.printable import printable, printable_lines  # noqa: PLC0415  # errors alone need it

    click.echo(f"amoc: {printable(str(error))}", err=True)
    if detail := getattr(error, "detail", ""):
        click.echo(printable_lines(detail), err=True)
    return error.exit_code


NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
BARRED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR}


def _told(error: OSError) -> int:
    """Write in a line what the place where we run lacks; any other error is a defect, and raised.

    A reader of our output that has gone was free to go. Nothing more is flushed at exit.
    """
    if isinstance(error, FileNotFoundError) and not _has_working_directory():
        click.echo("amoc: the working directory is gone: change to one that exists", err=True)
        return EXIT_FAILED
    if error.errno in NO_ROOM and error.filename is None:
        click.echo(f"amoc: what was to be written cannot be: {error.strerror}", err=True)
    elif error.errno in BARRED and error.filename is not None:
        click.echo(f"amoc: {error.filename}: {error.strerror}", err=True)
        return EXIT_FAILED
    elif not isinstance(error, BrokenPipeError):
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILED


def _has_working_directory() -> bool:
    try:
        os.getcwd()  # noqa: PTH109  # Path.cwd is the same, and pathlib is not needed here
    except FileNotFoundError:
        return False
    return True


def _show_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Write which amoc this is, and end."""
    if wanted:
        from amoc_gevent.version import described  # noqa: PLC0415  # it starts git

        click.echo(f"amoc {described()}")
        ctx.exit()


@click.group(
    cls=Amoc,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and the commit.",
)
def main() -> None:
    """Load HTTP services with simulated users: a greenlet each, on all cores."""
