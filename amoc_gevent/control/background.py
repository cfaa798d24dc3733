"""Puts a daemon into the background, and ends it: what a shell sees of the two.

A daemon is a new interpreter that runs the same command in the foreground, with its output in its
log file. Who started it goes away only when the daemon answers, or with what kept it from that.
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
from amoc_gevent.daemon.pidfile import already, holder
from amoc_gevent.errors import AmocError

START_S = 20.0
END_S = 20.0
"""More than a daemon gives itself."""

POLL_S = 0.02
LAST_LINES = 20


class DaemonError(AmocError):
    """A daemon did not start; `detail` has the last lines of its log."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


def start(home: Home, kind: Kind, arguments: list[str]) -> NodeDaemon | MasterDaemon:
    """Start `amoc KIND ARGUMENTS` in the background; return how it describes itself.

    Raises DaemonError when it ended before it answered, or did not answer in time.
    """
    pid = holder(home.make().pid_file(kind))
    if pid is not None:
        raise AmocError(already(kind, home.path, pid))
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
        reason, lines = _last_words(process, log, written)
        full = "" if lines or _has_room(log.parent) else f"; the disk of its log {log} is full"
        shown = f"the {kind} did not start: {reason or error}{full}"
        raise DaemonError(shown, lines) from None
    except BaseException:  # an interrupt too leaves nothing half started
        process.kill()
        raise


def _has_room(directory: Path) -> bool:
    """Whether the disk of `directory` has a block left: else a log would have no reason."""
    try:
        return os.statvfs(directory).f_bavail > 0
    except OSError:
        return True


def _answer_of(process: "subprocess.Popen[bytes]", control: Control) -> NodeDaemon | MasterDaemon:
    """Return what the daemon says of itself, once it is this process that answers."""
    deadline = clock.monotonic() + START_S
    while True:
        try:
            answer = control.answer({"command": "daemon"}, patience=1.0)
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


def _last_words(process: "subprocess.Popen[bytes]", log: Path, written: int) -> tuple[str, str]:
    """Return the error that the daemon ended with, and the last lines that it wrote."""
    said = process.stderr.read() if process.stderr is not None else b""  # before it had a log
    try:
        with log.open("rb") as file:
            file.seek(written)
            said += file.read()
    except OSError:
        pass
    lines = said.decode(errors="replace").splitlines()[-LAST_LINES:]
    if lines and lines[-1].startswith("amoc: "):
        return lines.pop().removeprefix("amoc: "), "\n".join(lines)
    return "", "\n".join(lines)


def end(
    home: Home,
    kind: Kind,
    *,
    force: bool,
    patience: float = END_S,
    on_warning: Callable[[str], object] = str,
) -> int:
    """End the daemon and return the pid that it had; wait until it is gone.

    `on_warning` gets what it says to be lost with it. Raises AmocError where it will not. One that
    does not answer within `patience` seconds, or is not gone within as many more, is killed if
    `force` says so.
    """
    pid = holder(home.pid_file(kind))
    if pid is None:
        raise AmocError(f"no {kind} runs in {home.path}")
    control = Control(home.socket(kind))
    try:
        control.answer({"command": "shutdown", "force": force}, patience=patience)
    except UnansweredError as error:
        if not force:
            hint = "does not answer; --force kills it"
            raise AmocError(f"the {kind} (pid {pid}) {hint}") from error
        os.kill(pid, signal.SIGKILL)
    if control.warning:
        on_warning(control.warning)
    if not _gone(home, kind, patience):
        if not force:
            raise AmocError(f"the {kind} (pid {pid}) has not ended within {patience:.0f} s")
        os.kill(pid, signal.SIGKILL)
        _gone(home, kind, patience)
    return pid


def _gone(home: Home, kind: Kind, patience: float) -> bool:
    deadline = clock.monotonic() + patience
    while holder(home.pid_file(kind)) is not None:
        if clock.monotonic() > deadline:
            return False
        threading.Event().wait(POLL_S)
    return True
