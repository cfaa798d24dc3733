"""Paths of Unix sockets that fit into an address, and the directories to put them in.

Imports nothing slow: plain clients need these paths to reach the daemon's socket.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKET_MAX = 107
"""Bytes of a Unix socket's path (sun_path, without its zero)."""

PARENT_MAX = SOCKET_MAX - 35
"""Bytes of a directory's path that leave room for a temporary directory and a socket's name."""


@contextmanager
def short_enough(path: Path) -> Iterator[str]:
    """Yield a name for a Unix socket's `path` that fits into an address, valid in the block.

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
    """Return the name of a user, for an error message."""
    import pwd  # noqa: PLC0415  # only who is refused needs it

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def socket_parent() -> Path:
    """Return a writable directory with a short path, for the sockets of a passing command.

    It is the user's runtime directory or a temporary one; /tmp where their paths are too long.
    """
    import tempfile  # noqa: PLC0415  # a plain client has no need of it

    given = (os.environ.get("XDG_RUNTIME_DIR") or "", tempfile.gettempdir())
    for parent in given:
        if parent and len(os.fsencode(parent)) <= PARENT_MAX and os.access(parent, os.W_OK):
            return Path(parent)
    return Path("/tmp")  # noqa: S108  # mkdtemp makes a directory that only its owner can enter
