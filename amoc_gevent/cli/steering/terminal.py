"""The capabilities of the terminal, and the daemon's warnings."""

import os
import shutil
import sys
from typing import Any

import click

from amoc_gevent.control.client import Control
from amoc_gevent.core.json_codec import as_json
from amoc_gevent.printable import printable


def has_terminal() -> bool:
    """Whether standard output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def terminal_width() -> int | None:
    """Return the columns of the terminal, None if standard output is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def has_colour() -> bool:
    """Whether standard output is a terminal with colours, and `NO_COLOR` is not set."""
    return has_terminal() and not os.environ.get("NO_COLOR")


def print_warning(control: Control) -> None:
    """Print the warning of the daemon's last answer, if there is one."""
    if control.warning:
        click.echo(f"amoc: {printable(control.warning)}", err=True)


def with_warning(answer: object, control: Control) -> dict[str, Any]:
    """Return an answer as a JSON object, with the daemon's warning if there is one."""
    result = as_json(answer)
    return {**result, "warning": control.warning} if control.warning else result
