"""Makes paths of Unix sockets short enough for a socket address.

Plain clients use this to reach the daemon's socket, so it imports nothing slow.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKET_MAX = 107
"""Maximum length of a Unix socket's path in bytes (sun_path without its terminating zero)."""

PARENT_MAX = SOCKET_MAX - 35
"""Maximum length of a parent directory's path; the rest is for a temporary directory and a name."""


@contextmanager
def short_enough(path: Path) -> Iterator[str]:
    """Yield a short name for the Unix socket `path`, valid within the block.

    Raises OSError if `path` is too long and its directory does not exist.
    """
    if len(os.fsencode(path)) <= SOCKET_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def owner_name(uid: int) -> str:
    """Return "user NAME" for an error message, or "user UID" if the name is unknown."""
    import pwd  # noqa: PLC0415  # needed only for a refusal

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def socket_parent() -> Path:
    """Return a writable directory with a short path, for the sockets of a short-lived command.

    It is the user's runtime directory, else the temporary directory, else /tmp.
    """
    import tempfile  # noqa: PLC0415  # plain clients do not need it

    given = (os.environ.get("XDG_RUNTIME_DIR") or "", tempfile.gettempdir())
    for parent in given:
        if parent and len(os.fsencode(parent)) <= PARENT_MAX and os.access(parent, os.W_OK):
            return Path(parent)
    return Path("/tmp")  # noqa: S108  # mkdtemp makes a directory that only its owner can enter
