"""Options that several commands have, and the number of cores that is their default."""

import os
from pathlib import Path

import click

JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
SET = click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Set a setting.")
WORKERS = click.option(
    "--workers", type=click.IntRange(min=1), help="Worker processes [one per core]."
)
FOREGROUND = click.option(
    "--foreground", is_flag=True, help="Do not detach; log to standard error."
)
LOG_FILE = click.option(
    "--log-file", type=click.Path(path_type=Path), help="File to which --foreground logs instead."
)


def core_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
