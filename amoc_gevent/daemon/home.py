"""The paths in AMOC_HOME (default `~/.amoc`): keys, control sockets, logs and pid files.

It imports nothing slow, since every client looks up its control socket here.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from amoc_gevent.errors import AmocError
from amoc_gevent.socket_paths import owner_name

Kind = Literal["master", "node"]
KINDS: tuple[Kind, ...] = ("master", "node")
"""The kinds of daemons. A home holds at most one of each."""

LINKS_MAX = 40
"""The maximum number of links that Linux follows in one path."""


def _path_components(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the existing directories and links on the way to `path`, and `path` itself."""
    at, links = Path("/"), 0
    yield at, at.lstat()
    left = [*reversed(path.parts[1:])]
    while left:
        part = left.pop()
        if part == "..":
            at = at.parent
            continue
        try:
            found = (at / part).lstat()
            yield at / part, found
            if not stat.S_ISLNK(found.st_mode):
                at /= part
                continue
            target = (at / part).readlink()
        except OSError:
            return
        links += 1
        if links > LINKS_MAX:
            return
        at = Path("/") if target.is_absolute() else at
        left += reversed(target.parts[target.is_absolute() :])


@dataclass(frozen=True, slots=True)
class Home:
    """The directory of one master, one node, or both. Only its owner may write to it.

    A person with write access could pose as its master and make nodes run other code.
    """

    path: Path

    @classmethod
    def current(cls) -> Self:
        """Return the home that AMOC_HOME names.

        Raises AmocError if it cannot be entered or if others may write to it.
        """
        given = os.environ.get("AMOC_HOME") or "~/.amoc"
        try:
            home = cls(Path(os.path.abspath(Path(given).expanduser())))  # noqa: PTH100  # links stay
        except RuntimeError:
            hint = "there is no such home directory: set AMOC_HOME to a directory"
            raise AmocError(f"{given}: {hint}") from None
        home._enter()
        home.check()
        return home

    def _enter(self) -> None:
        """Raise AmocError if the directory exists and cannot be entered."""
        try:
            (self.path / "..").stat()
        except FileNotFoundError:  # not made yet
            return
        except OSError as error:
            raise AmocError(f"AMOC_HOME {self.path} cannot be used: {error.strerror}") from error

    def check(self) -> None:
        """Raise AmocError if the directory exists and anybody but this user may write to it.

        Each directory and link on the way must belong to this user or root and be writable by
        nobody else (as with sshd's StrictModes), unless it is sticky. Otherwise others could put
        another home in its place.
        """
        for place, found in _path_components(self.path):
            self._check_component(place, found)
        try:
            link, found = self.path.lstat(), self.path.stat()
        except OSError:  # missing, or its next use reports the error
            return
        us = os.geteuid()
        owner = found.st_uid if link.st_uid in {us, 0} else link.st_uid
        if owner != us:
            raise AmocError(
                f"AMOC_HOME {self.path} belongs to {owner_name(owner)}, not to {owner_name(us)}: "
                "run this as its owner, or name a directory of your own"
            )
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise AmocError(
                f"others can write to AMOC_HOME {self.path}, and so pose as your master: "
                f"chmod 700 {self.path}"
            )

    def _check_component(self, place: Path, found: os.stat_result) -> None:
        """Raise AmocError if another user can change this part of the path."""
        if place == self.path and not stat.S_ISLNK(found.st_mode):
            return
        how = f"and so put another AMOC_HOME {self.path} in its place"
        if found.st_uid not in {os.geteuid(), 0}:
            raise AmocError(
                f"{place} belongs to {owner_name(found.st_uid)}, who can change it {how}: "
                "set AMOC_HOME to a directory outside theirs"
            )
        ours_to_write = stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX
        if not ours_to_write and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise AmocError(
                f"others can write to {place}, {how}: chmod go-w {place}, or set AMOC_HOME to a "
                "directory elsewhere"
            )

    def make(self) -> Self:
        """Make the directory (mode 0700) if it is missing.

        Raises AmocError if it cannot be made or if `check` fails.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.check()
            self.logs.mkdir(mode=0o700, exist_ok=True)
            self.sockets.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise AmocError(f"AMOC_HOME {self.path} cannot be used: {error.strerror}") from error
        return self

    def socket(self, kind: Kind) -> Path:
        """Return the control socket of a daemon."""
        return self.path / f"{kind}.sock"

    def pid_file(self, kind: Kind) -> Path:
        """Return the pid file of a daemon, locked while the daemon runs."""
        return self.path / f"{kind}.pid"

    @property
    def sockets(self) -> Path:
        """The directory (mode 0700) of the sockets between master and node of this home."""
        return self.path / "sockets"

    @property
    def bus(self) -> tuple[str, str]:
        """The master's ipc addresses for plans and for reports."""
        return f"ipc://{self.sockets / 'plans'}", f"ipc://{self.sockets / 'reports'}"

    @property
    def logs(self) -> Path:
        """The directory of log files."""
        return self.path / "log"

    def log_file(self, kind: Kind) -> Path:
        """Return the log file of a background daemon."""
        return self.logs / f"{kind}.log"

    @property
    def runs(self) -> Path:
        """The run store."""
        return self.path / "runs.db"

    @property
    def keys(self) -> Path:
        """The directory of keys."""
        return self.path / "keys"

    @property
    def traceback(self) -> Path:
        """The file with the traceback of the latest unexpected error at a prompt."""
        return self.logs / "prompt.traceback"

    @property
    def history(self) -> Path:
        """The history of prompts."""
        return self.path / "history"
