"""What a test may need the right to, and what becomes of it where that right is not there.

A container that gives root away may still keep namespaces, mounts or terminals to itself. Whoever
makes such a thing in a test says so first (`PTY.need()`): the test is then skipped with the right
that it lacks, and the last line of pytest counts those tests. Where CI is set it fails, so that
nobody takes a machine that cannot test for one that did. A server that is not installed is another
matter: that always fails.
"""

import errno
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from gevent import subprocess

from tests.net.network import Network

NOBODY = 65534
LACKING = "there is no right to "
_REFUSALS = (
    errno.EPERM,
    errno.EACCES,
    errno.EROFS,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENODEV,
    errno.ENOSPC,
)
"""What the kernel says to what may not be done, or only so many times (ENOSPC), or not at all."""


@dataclass(frozen=True)
class Right:
    """The right to do `what`; `attempt` does it, and returns or raises why it could not."""

    what: str
    attempt: Callable[[], object]

    def need(self) -> None:
        """Return where the right is there; else skip the test, or fail it where CI is set."""
        why = _tried(self)
        if not why:
            return
        message = f"{LACKING}{self.what}: {why}"
        if os.environ.get("CI", "").lower() not in {"", "0", "false", "no"}:
            pytest.fail(f"{message}; it is not skipped, as CI is set", pytrace=False)
        pytest.skip(message)


@cache
def _tried(right: Right) -> str:
    """Return why it cannot be done, "" where it can; what no lack of a right explains is raised."""
    try:
        right.attempt()
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        return error.strerror
    except subprocess.CalledProcessError as error:
        said = str(error.stderr).strip()
        if not any(os.strerror(number).lower() in said.lower() for number in _REFUSALS):
            raise
        return said.splitlines()[-1]
    return ""


def _run(*command: str) -> None:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    subprocess.run(
        [shutil.which(command[0], path=path) or command[0], *command[1:]],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, "LC_ALL": "C"},
    )


def _make_network() -> None:
    with TemporaryDirectory() as directory, Network(["a", "b"], Path(directory)) as network:
        one, other = network.hosts
        one.cut_off(other)
        one.heal()


def _open_terminal() -> None:
    try:
        ends = os.openpty()
    except OSError as error:  # any: without /dev/pts it is EIO, without /dev/ptmx ENOENT
        raise PermissionError(errno.EACCES, error.strerror) from error
    for end in ends:
        os.close(end)


def _mount() -> None:
    with TemporaryDirectory() as directory:
        _run("mount", "-t", "tmpfs", "none", directory)
        _run("umount", "--lazy", directory)


AS_NOBODY = ("/usr/bin/setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")

NETWORKS = Right("make network namespaces", _make_network)
MOUNTS = Right("mount a file system", _mount)
PTY = Right("open pseudo terminals", _open_terminal)
OTHER_USER = Right("be another user", lambda: _run(*AS_NOBODY, "true"))
USER_NAMESPACES = Right(
    "make user namespaces",
    lambda: _run(*AS_NOBODY, "unshare", "--user", "--map-root-user", "--net", "true"),
)


UNPRIVILEGED = ("/usr/bin/setpriv", "--bounding-set=-dac_override,-dac_read_search")
LESS = Right("give up capabilities", lambda: _run(*UNPRIVILEGED, "true"))


@cache
def held_to_modes() -> tuple[str, ...]:
    """Return what a command is started by so that files of mode 000 are closed to it."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0)
        try:
            list(Path(directory).iterdir())
        except PermissionError:
            return ()
    LESS.need()
    return UNPRIVILEGED


def counted(reasons: Iterable[str]) -> str:
    """Return a line that counts the tests that were skipped for want of each right, or ""."""
    found = (re.match(rf"Skipped: {LACKING}([^:]+)", reason) for reason in reasons)
    rights = Counter(match[1] for match in found if match)
    parts = ", ".join(f"{count} to {what}" for what, count in sorted(rights.items()))
    return f"{rights.total()} skipped for want of a right: {parts}" if rights else ""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, Any]:
    """Write the count as the very last line: after pytest's own, which says how many in all."""
    done = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:  # which a worker of xdist has not
        skipped = (report.longrepr for report in reporter.stats.get("skipped", ()))
        if line := counted(where[2] for where in skipped if isinstance(where, tuple)):
            reporter.write_line(line)
    return done
