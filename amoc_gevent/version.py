"""The version of this amoc, and the commit that it was released or checked out at."""

import subprocess
from pathlib import Path

from amoc_gevent import __version__

PACKAGE = Path(__file__).resolve().parent
STAMP = PACKAGE / "COMMIT"
"""The commit of a release; a checkout has no such file."""


def described() -> str:
    """Return "0.1.0 (1a2b3c4d5e6f)", or the version alone if the commit is unknown."""
    found = commit()
    return f"{__version__} ({found})" if found else __version__


def commit() -> str:
    """Return the commit, with -dirty if files differ from it, or "" if it is unknown.

    Changes of hosts.ini do not count, as they do not change amoc.
    """
    if STAMP.exists():
        return STAMP.read_text().strip()
    if not (PACKAGE.parent / ".git").exists():
        return ""
    try:
        found = _git("describe", "--always", "--abbrev=12")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!hosts.ini")
    except (OSError, subprocess.CalledProcessError):  # no git, or it refuses the owner of the files
        return ""
    return f"{found}-dirty" if changed else found


def _git(*words: str) -> str:
    command = ["git", "-C", str(PACKAGE.parent), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
