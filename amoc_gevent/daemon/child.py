"""Command line and environment for starting amoc again in a child process."""

import os
import sys
from pathlib import Path


def command_line(*arguments: str) -> list[str]:
    """Return the command that runs `amoc ARGUMENTS` in a new interpreter.

    `-P` keeps a json.py in the working directory from shadowing the standard library's. `-S` is
    passed on if this process has it: an unpacked release must not mix with installed packages.
    """
    flags = ["-P", "-S"] if sys.flags.no_site else ["-P"]
    return [sys.executable, *flags, "-m", "amoc_gevent", *arguments]


def environment() -> dict[str, str]:
    """Return this environment with this package first on the path and unbuffered output."""
    package_parent = str(Path(__file__).parents[2])
    path = os.pathsep.join(p for p in (package_parent, os.environ.get("PYTHONPATH")) if p)
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
