"""Which amoc this is: its version, and the commit that it was released or checked out at."""

import subprocess
from pathlib import Path

from amoc_gevent import __version__

PACKAGE = Path(__file__).resolve().parent
STAMP = PACKAGE / "COMMIT"
"""Written into releases only."""


def described() -> str:
    """Return "0.1.0 (1a2b3c4d5e6f)", or the version alone where no commit is known."""
    found = commit()
    return f"{__version__} ({found})" if found else __version__


def commit() -> str:
    """Return the commit, with -dirty where files differ from it; "" where none is known.

    That hosts.ini names other machines makes no other amoc.
    """
    if STAMP.exists():
        return STAMP.read_text().strip()
    if not (PACKAGE.parent / ".git").exists():
        return ""
    try:
        found = _git("describe", "--always", "--abbrev=12")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!hosts.ini")
    except (OSError, subprocess.CalledProcessError):  # no git here, or one that distrusts the files
        return ""
    return f"{found}-dirty" if changed else found


def _git(*words: str) -> str:
    command = ["git", "-C", str(PACKAGE.parent), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
