"""Runs this process as a daemon: pid file, log, signals and shutdown.

It behaves the same in the background, under systemd and in a container. Only the destination of
standard error, and so of the log, differs. The command line puts daemons into the background.
"""

import faulthandler
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gevent
from gevent.event import Event as Flag

from amoc_gevent import __version__, clock
from amoc_gevent.core.answers import (
    Answer,
    Ending,
    MasterDaemon,
    NodeDaemon,
)
from amoc_gevent.daemon.home import Home, Kind
from amoc_gevent.daemon.logs import log_level
from amoc_gevent.daemon.pidfile import PidFile
from amoc_gevent.errors import AmocError

log = logging.getLogger(__name__)

END_S = 15.0
"""Time for a daemon to shut down. Then it dumps its tracebacks and exits."""

CHECK_S = 0.5
"""How often a daemon checks that its pid file is still its own."""

FORMAT = "%(asctime)s %(levelname)s %(message)s"


class Daemon:
    """This process as the daemon of this `kind` in a home, as a context manager.

    `log_file` receives standard output and error and is reopened on SIGHUP; None leaves them
    unchanged. SIGTERM, SIGINT, the request `shutdown` and the loss of the home end `wait`.
    """

    def __init__(self, home: Home, kind: Kind, log_file: Path | None) -> None:
        self._home = home
        self._kind = kind
        self._log_file = log_file
        self._since = clock.monotonic()
        self._leave = Flag()
        self._why = ""

    def __enter__(self) -> Self:
        self._home.make()
        if self._log_file is not None:
            _write_to(self._log_file)
        logging.basicConfig(level=log_level("INFO"), format=FORMAT, stream=sys.stderr)
        self._pid_file = PidFile(self._home.pid_file(self._kind), self._kind)
        # Left by a killed process. We hold the pid file, so nobody listens there.
        self._home.socket(self._kind).unlink(missing_ok=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self.leave, signal.Signals(number).name)
        gevent.signal_handler(signal.SIGHUP, self._reopen_log)
        self._watching = gevent.spawn(self._watch_pid_file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._watching.kill()
        if error is None:
            log.info("%s ended", self._kind)
        if self._pid_file.held:
            self._home.socket(self._kind).unlink(missing_ok=True)
        self._pid_file.release()

    def owns_home(self) -> bool:
        """Return whether the home still belongs to this daemon. If not, it must not write there."""
        return not self._pid_file.lost

    def _watch_pid_file(self) -> None:
        """Shut down if the home is removed, moved or remade: another daemon may be in it."""
        while self.owns_home():
            gevent.sleep(CHECK_S)
        if self._log_file is not None and self._log_file.parent.is_dir():
            with suppress(AmocError):  # the open log may be unreachable
                self._home.check()
                _write_to(self._log_file)
        pid, path = os.getpid(), self._home.pid_file(self._kind)
        log.error("%s (pid %d) ends: %s is no longer its own", self._kind, pid, path)
        self.leave("its home was removed, moved or recreated")

    def ready(self, what: str) -> None:
        """Report that the daemon answers commands; `what` is a line of details."""
        log.info("%s %s, pid %d: %s", self._kind, __version__, os.getpid(), what)
        notify(f"READY=1\nSTATUS={what}\n")

    def wait(self) -> None:
        """Return when the daemon is to shut down. It has `END_S` for that."""
        self._leave.wait()
        faulthandler.dump_traceback_later(END_S, exit=True)
        log.info("%s ends: %s", self._kind, self._why)
        notify("STOPPING=1\n")

    def leave(self, why: str) -> None:
        """Make `wait` return; `why` goes to the log."""
        self._why = self._why or why
        self._leave.set()

    def services(
        self, may_end: Callable[[bool], None], describe: Callable[[], Answer]
    ) -> dict[str, Callable[[Mapping[str, Any]], Answer]]:
        """Return the handlers of a daemon's control socket by request.

        `may_end` gets the `force` flag and raises AmocError if the daemon may not end now.
        `describe` returns the answer to `daemon`.
        """

        def shutdown(request: Mapping[str, Any]) -> Ending:
            may_end(request.get("force") is True)
            self.leave("shutdown")
            return Ending(self._kind, os.getpid())

        return {"daemon": lambda _: describe(), "shutdown": shutdown}

    def as_node(self) -> NodeDaemon:
        """Return the description of this process as a node."""
        return NodeDaemon("node", *self._described())

    def as_master(self, endpoints: tuple[str, str] | None, run: str | None) -> MasterDaemon:
        """Return the description of a master with these endpoints and this inherited run."""
        return MasterDaemon("master", *self._described(), endpoints, run)

    def _described(self) -> tuple[int, str, str, str | None, float]:
        log_file = str(self._log_file) if self._log_file is not None else None
        up = round(clock.monotonic() - self._since, 1)
        return os.getpid(), __version__, str(self._home.path), log_file, up

    def _reopen_log(self) -> None:
        if self._log_file is None:
            return
        try:
            _write_to(self._log_file)
        except AmocError as error:  # the old file is still open
            log.error("%s", error)
        else:
            log.info("log reopened")


def _write_to(path: Path) -> None:
    """Redirect standard output and error to `path`, including the interpreter's final output."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AmocError(f"log file {path} cannot be written: {error.strerror}") from error
    for stream in (1, 2):
        os.dup2(opened, stream)
    os.close(opened)


def notify(state: str) -> None:
    """Send `state` to the service manager, if any (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.connect("\0" + address[1:] if address.startswith("@") else address)
            to.send(state.encode())
    except OSError as error:
        log.warning("nothing listens at NOTIFY_SOCKET %s: %s", address, error.strerror)
