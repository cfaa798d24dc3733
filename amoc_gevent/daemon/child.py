"""How this program starts itself again: the interpreter, its arguments and its environment."""

import os
import sys
from pathlib import Path


def command_line(*arguments: str) -> list[str]:
    """Return the command that runs `amoc ARGUMENTS` in a new interpreter.

    `-P`: a json.py in the working directory must not stand in for the standard library's. `-S` as
    here: what a release has unpacked is all that it needs, and what is installed is not to mix in.
    """
    flags = ["-P", "-S"] if sys.flags.no_site else ["-P"]
    return [sys.executable, *flags, "-m", "amoc_gevent", *arguments]


def environment() -> dict[str, str]:
    """Return this process's environment, with this package found first, and unbuffered output."""
    package_parent = str(Path(__file__).parents[2])
    path = os.pathsep.join(p for p in (package_parent, os.environ.get("PYTHONPATH")) if p)
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
