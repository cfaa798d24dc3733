"""What the terminal can show, and the daemon's warnings, for every verb."""

import os
import sys
from typing import Any

import click

from amoc_gevent.control.client import Control
from amoc_gevent.core.json_codec import as_json


def has_terminal() -> bool:
    """Whether standard output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def has_colour() -> bool:
    """Whether standard output is a terminal with colours, and `NO_COLOR` is not set."""
    return has_terminal() and not os.environ.get("NO_COLOR")


def say_warning(control: Control) -> None:
    """Write the daemon's warning from its last answer, if there is one."""
    if control.warning:
        click.echo(f"amoc: {control.warning}", err=True)


def with_warning(answer: object, control: Control) -> dict[str, Any]:
    """Return an answer as JSON has it, with the daemon's warning if there is one."""
    result = as_json(answer)
    return {**result, "warning": control.warning} if control.warning else result
