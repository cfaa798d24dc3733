"""The command `amoc`: its subcommands, and the exit codes and messages of failures.

A subcommand's module is imported only when it is called, so that `amoc --help` is fast.
"""

import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import IO, Any, NamedTuple, NoReturn

import click

from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_INTERRUPTED, EXIT_USAGE, AmocError


class Lazy(NamedTuple):
    """A lazily imported command: "module:attribute" and its line of help."""

    target: str
    help: str
    hidden: bool = False


COMMANDS = {
    "run": Lazy("amoc_gevent.cli.run:run", "Load a service with simulated users."),
    "console": Lazy("amoc_gevent.cli.console:console", "Control a local run from a prompt."),
    "master": Lazy("amoc_gevent.cli.daemons.master:master", "Start the master of a cluster."),
    "node": Lazy(
        "amoc_gevent.cli.daemons.node:node", "Start the node of a machine and join a master."
    ),
    "attach": Lazy("amoc_gevent.cli.attach:attach", "Control the master's run from a prompt."),
    "do": Lazy("amoc_gevent.cli.steering.remote:do", "Start a run on the nodes."),
    "add": Lazy("amoc_gevent.cli.steering.remote:add", "Add users to the run."),
    "remove": Lazy("amoc_gevent.cli.steering.remote:remove", "Remove users from the run."),
    "set": Lazy("amoc_gevent.cli.steering.remote:set_", "Change a setting or option of the run."),
    "pause": Lazy("amoc_gevent.cli.steering.remote:pause", "Stop starting users."),
    "resume": Lazy("amoc_gevent.cli.steering.remote:resume", "Start users again."),
    "rebalance": Lazy(
        "amoc_gevent.cli.steering.remote:rebalance", "Spread users evenly over the nodes."
    ),
    "stop": Lazy("amoc_gevent.cli.steering.remote:stop", "Stop the run."),
    "status": Lazy(
        "amoc_gevent.cli.steering.remote:status", "Show the run, its users and operations."
    ),
    "watch": Lazy("amoc_gevent.cli.steering.remote:watch", "Watch the run until it ends."),
    "nodes": Lazy("amoc_gevent.cli.steering.remote:nodes", "Show the nodes and their health."),
    "runs": Lazy("amoc_gevent.cli.steering.remote:runs", "List the runs."),
    "summary": Lazy("amoc_gevent.cli.steering.remote:summary", "Show the report of a run."),
    "shutdown": Lazy("amoc_gevent.cli.daemons.shutdown:shutdown", "Stop the master and the node."),
    "keys": Lazy("amoc_gevent.cli.daemons.keys:keys", "Create, list, allow and revoke keys."),
    "doctor": Lazy("amoc_gevent.cli.doctor:doctor", "Show what breaks first at USERS users."),
    "hosts": Lazy("amoc_gevent.cli.hosts:hosts", "Prepare many machines and deploy to them."),
    "try": Lazy("amoc_gevent.cli.try_:try_", "Run a scenario once for one user, in detail."),
    "scenarios": Lazy("amoc_gevent.cli.scenarios:scenarios", "List the scenarios."),
    "describe": Lazy(
        "amoc_gevent.cli.scenarios:describe",
        "Show a scenario, or that of the run.",
    ),
    "demo": Lazy("amoc_gevent.cli.demo:demo", "Start a demo server to load."),
    "console-engine": Lazy(
        "amoc_gevent.cli.daemons.console_engine:console_engine",
        "Run the load of a console.",
        hidden=True,
    ),
    "worker": Lazy("amoc_gevent.cli.daemons.worker:worker", "Run users for a node.", hidden=True),
}

EPILOG = """\b
Exit codes:
  0  finished
  1  the run failed, or a daemon refused the command
  2  wrong usage: a command, an option, a setting; nothing was started
  130  Ctrl-C before a run began, or while a command waited"""


class Amoc(click.Group):
    """A group of lazy commands that prints every expected error in a line or two."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the help."""
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
        """Find the command, or fail with a suggestion."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from amoc_gevent.core.suggestions import (  # noqa: PLC0415  # --help does not need it
                did_you_mean,
            )

            known = [name for name, lazy in COMMANDS.items() if not lazy.hidden]
            hint = did_you_mean(args[0], known) or f"there are {', '.join(known)}"
            ctx.fail(f"there is no command {args[0]}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands from the table, without imports."""
        with formatter.section("Commands"):
            shown = [(name, lazy.help) for name, lazy in COMMANDS.items() if not lazy.hidden]
            formatter.write_dl(shown)

    def main(  # type: ignore[override]  # it always ends the process
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "amoc",
        **extra: Any,
    ) -> NoReturn:
        """Run the command line and exit with the code that the command returns; None is 0."""
        extra.pop("standalone_mode", None)
        if sys.stdout is None:  # it was closed before the process started
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # open until the end
        if isinstance(
            sys.stdout, io.TextIOWrapper
        ):  # a file name can have bytes that are not UTF-8
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
            code = _environment_error(error)
        sys.exit(code if isinstance(code, int) else EXIT_FINISHED)


def _usage(error: click.ClickException) -> int:
    """Print a usage error in two lines."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "amoc"
    message = error.format_message()
    if message.startswith("Usage:"):  # a group without a command: print its help
        click.echo(message, err=True)
        return EXIT_USAGE
    click.echo(f"{command}: {message[:1].lower()}{message[1:].rstrip('.')}", err=True)
    click.echo(f"See {command} --help", err=True)
    return EXIT_USAGE


def _failed(error: AmocError) -> int:
    print_error(error, "amoc: ")
    return error.exit_code


def print_error(error: AmocError, prefix: str = "") -> None:
    """Print an expected error in a line, and below it the traceback of a scenario, if any."""
    from amoc_gevent.printable import printable, printable_lines  # noqa: PLC0415  # only errors need it

    click.echo(f"{prefix}{printable(str(error))}", err=True)
    if detail := getattr(error, "detail", ""):
        click.echo(printable_lines(detail), err=True)


def discard(stream: IO[str]) -> None:
    """Let `stream` write to /dev/null, since its pipe or terminal is closed or its disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR}


def _environment_error(error: OSError) -> int:
    """Print an environment error on one line. Re-raise any other OSError: it is a defect.

    A closed pipe is no error to report. Nothing more is flushed at exit.
    """
    if isinstance(error, FileNotFoundError) and not _has_working_directory():
        click.echo("amoc: the working directory is gone: change to one that exists", err=True)
        return EXIT_FAILED
    if error.errno in NO_ROOM and error.filename is None:
        click.echo(f"amoc: the output cannot be written: {error.strerror}", err=True)
    elif error.errno in DENIED and error.filename is not None:
        click.echo(f"amoc: {error.filename}: {error.strerror}", err=True)
        return EXIT_FAILED
    elif not isinstance(error, BrokenPipeError):
        raise error
    discard(sys.stdout)
    return EXIT_FAILED


def _has_working_directory() -> bool:
    try:
        os.getcwd()  # noqa: PTH109  # Path.cwd is the same, and pathlib is not needed here
    except FileNotFoundError:
        return False
    return True


def _show_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Print the version and exit."""
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
    """Load HTTP and XMPP services with simulated users, one greenlet each, on all cores."""
