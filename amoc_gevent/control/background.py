"""Starts a daemon in the background, and ends it, for the command line.

A daemon is a new interpreter that runs the same command in the foreground and logs to its file. The
command that starts it returns when the daemon answers, or reports why it did not start.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from amoc_gevent import clock
from amoc_gevent.control.client import Control, UnansweredError
from amoc_gevent.core.answers import MasterDaemon, NodeDaemon
from amoc_gevent.daemon.child import command_line, environment
from amoc_gevent.daemon.home import Home, Kind
from amoc_gevent.daemon.pidfile import already_running, holder
from amoc_gevent.errors import AmocError

START_S = 20.0
END_S = 20.0
"""Longer than a daemon's own limit for ending."""

POLL_S = 0.02
LAST_LINES = 20


class DaemonError(AmocError):
    """A daemon did not start; `detail` has the last lines of its log."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


def start(home: Home, kind: Kind, arguments: list[str]) -> NodeDaemon | MasterDaemon:
    """Start `amoc KIND ARGUMENTS` in the background; return its description of itself.

    Raises AmocError if one runs already, and DaemonError if it ends before it answers, or does not
    answer within START_S seconds.
    """
    pid = holder(home.make().pid_file(kind))
    if pid is not None:
        raise AmocError(already_running(kind, home.path, pid))
    log = home.log_file(kind)
    written = log.stat().st_size if log.exists() else 0
    process = subprocess.Popen(  # noqa: S603  # our own interpreter and arguments
        command_line(kind, "--foreground", "--log-file", str(log), *arguments),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        return _answer_of(process, Control(home.socket(kind)))
    except AmocError as error:
        reason, lines = _startup_error(process, log, written)
        full = (
            "" if lines or _has_free_space(log.parent) else f"; the disk of its log {log} is full"
        )
        shown = f"the {kind} did not start: {reason or error}{full}"
        raise DaemonError(shown, lines) from None
    except BaseException:  # even an interrupt must leave no half-started daemon
        process.kill()
        raise


def _has_free_space(directory: Path) -> bool:
    """Return whether the disk of `directory` has a free block; a full one explains an empty log."""
    try:
        return os.statvfs(directory).f_bavail > 0
    except OSError:
        return True


def _answer_of(process: "subprocess.Popen[bytes]", control: Control) -> NodeDaemon | MasterDaemon:
    """Return the daemon's description of itself, once `process` is the one that answers."""
    deadline = clock.monotonic() + START_S
    while True:
        try:
            answer = control.answer({"command": "daemon"}, timeout=1.0)
            if isinstance(answer, NodeDaemon | MasterDaemon) and answer.pid == process.pid:
                return answer
        except AmocError:
            pass
        if process.poll() is not None:
            raise AmocError(f"it ended with exit code {process.returncode}")
        if clock.monotonic() > deadline:
            process.kill()
            process.wait()
            raise AmocError(f"it did not answer at {control.path} within {START_S:.0f} s")
        threading.Event().wait(POLL_S)


def _startup_error(process: "subprocess.Popen[bytes]", log: Path, written: int) -> tuple[str, str]:
    """Return the error that ended the daemon, and the last lines of its output."""
    output = (
        process.stderr.read() if process.stderr is not None else b""
    )  # output before its log was open
    try:
        with log.open("rb") as file:
            file.seek(written)
            output += file.read()
    except OSError:
        pass
    lines = output.decode(errors="replace").splitlines()[-LAST_LINES:]
    if lines and lines[-1].startswith("amoc: "):
        return lines.pop().removeprefix("amoc: "), "\n".join(lines)
    return "", "\n".join(lines)


def end(
    home: Home,
    kind: Kind,
    *,
    force: bool,
    timeout: float = END_S,
    on_warning: Callable[[str], object] = str,
) -> int:
    """End the daemon, wait until it is gone, and return its pid.

    `on_warning` receives the daemon's warning, if any, of what is lost with it. Raises AmocError if
    the daemon refuses, does not answer within `timeout` seconds, or has not ended within as many
    more. With `force` a daemon that is late in either way is killed instead.
    """
    pid = holder(home.pid_file(kind))
    if pid is None:
        raise AmocError(f"no {kind} runs in {home.path}")
    control = Control(home.socket(kind))
    try:
        control.answer({"command": "shutdown", "force": force}, timeout=timeout)
    except UnansweredError as error:
        if not force:
            hint = "does not answer; --force kills it"
            raise AmocError(f"the {kind} (pid {pid}) {hint}") from error
        os.kill(pid, signal.SIGKILL)
    if control.warning:
        on_warning(control.warning)
    if not _gone(home, kind, timeout):
        if not force:
            raise AmocError(f"the {kind} (pid {pid}) has not ended within {timeout:.0f} s")
        os.kill(pid, signal.SIGKILL)
        _gone(home, kind, timeout)
    return pid


def _gone(home: Home, kind: Kind, timeout: float) -> bool:
    deadline = clock.monotonic() + timeout
    while holder(home.pid_file(kind)) is not None:
        if clock.monotonic() > deadline:
            return False
        threading.Event().wait(POLL_S)
    return True
