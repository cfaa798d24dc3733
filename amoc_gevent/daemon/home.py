"""Where files live: AMOC_HOME (default `~/.amoc`) with keys, control sockets, logs and pid files.

Imports nothing that is slow: plain clients look here for the socket they talk to.
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
"""The daemons of which a home may hold one each."""

LINKS_MAX = 40
"""Links that Linux follows in one path."""


def _led_through(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the directories and links that lead to `path`, then itself, as far as they exist."""
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
    """The directory of one master, one node, or both. Nobody else may write to it.

    Whoever could would pose as its master to commands and nodes, and have nodes run other code.
    """

    path: Path

    @classmethod
    def current(cls) -> Self:
        """Return the home that the environment names.

        Raises AmocError for one that cannot be entered, or that others may write to.
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
        """Raise AmocError where the directory is there and what it holds cannot be seen."""
        try:
            (self.path / "..").stat()
        except FileNotFoundError:  # it was not made yet
            return
        except OSError as error:
            raise AmocError(f"AMOC_HOME {self.path} cannot be used: {error.strerror}") from error

    def check(self) -> None:
        """Raise AmocError where the directory is there and anybody but this user may write to it.

        Each directory and link that leads to it must be this user's or root's, and writable by no
        one else (sshd's StrictModes), unless it is sticky: who writes there could put another home
        in its place.
        """
        for place, led in _led_through(self.path):
            self._check_way(place, led)
        try:
            link, found = self.path.lstat(), self.path.stat()
        except OSError:  # there is none yet, or who makes it or looks into it says what is wrong
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

    def _check_way(self, place: Path, found: os.stat_result) -> None:
        """Raise AmocError where somebody else rules over what leads to the directory."""
        if place == self.path and not stat.S_ISLNK(found.st_mode):
            return
        how = f"and so put another AMOC_HOME {self.path} in its place"
        if found.st_uid not in {os.geteuid(), 0}:
            raise AmocError(
                f"{place} belongs to {owner_name(found.st_uid)}, who can change it {how}: "
                "set AMOC_HOME to a directory below none of theirs"
            )
        ours_to_write = stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX
        if not ours_to_write and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise AmocError(
                f"others can write to {place}, {how}: chmod go-w {place}, or set AMOC_HOME to a "
                "directory elsewhere"
            )

    def make(self) -> Self:
        """Make the directory (mode 0700) where there is none; AmocError where that cannot be.

        Raises AmocError as `check` does, too.
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
        """Return the pid file of a daemon, which it keeps locked while it runs."""
        return self.path / f"{kind}.pid"

    @property
    def sockets(self) -> Path:
        """The directory (mode 0700) of the sockets between master and node of this home."""
        return self.path / "sockets"

    @property
    def bus(self) -> tuple[str, str]:
        """The addresses at which the home's master publishes plans, and takes reports."""
        return f"ipc://{self.sockets / 'plans'}", f"ipc://{self.sockets / 'reports'}"

    @property
    def logs(self) -> Path:
        """The directory of log files."""
        return self.path / "log"

    def log_file(self, kind: Kind) -> Path:
        """Return where a daemon in the background logs."""
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
        """The traceback of the latest error at a prompt that was not foreseen."""
        return self.logs / "prompt.traceback"

    @property
    def history(self) -> Path:
        """What was typed at prompts."""
        return self.path / "history"
