"""A process as a daemon: its claim on a home, its log, its signals and how it ends.

It is the same in the background, under systemd and in a container; only where its standard error
goes differs, and with it the log. It starts nothing by itself: how one is put into the background
is the command line's.
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
"""A daemon that was told to end and has not by then writes where it hangs and is gone."""

LOOK_S = 0.5
"""How often a daemon looks whether its pid file is still its own."""

FORMAT = "%(asctime)s %(levelname)s %(message)s"


class Daemon:
    """This process as the `kind` of a home, from `with` to the end.

    `log_file` takes standard output and error, and is opened anew on SIGHUP; None leaves them as
    they are. SIGTERM, SIGINT and the request `shutdown` end `wait`, as does the loss of the home.
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
        # What a process that was killed has left; the claim says that nobody listens there.
        self._home.socket(self._kind).unlink(missing_ok=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self.leave, signal.Signals(number).name)
        gevent.signal_handler(signal.SIGHUP, self._reopen_log)
        self._watching = gevent.spawn(self._watch_the_claim)
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

    def holds(self) -> bool:
        """Whether the home is still this daemon's; else it must change nothing in it."""
        return not self._pid_file.lost

    def _watch_the_claim(self) -> None:
        """End once the home was removed, moved or made anew: another daemon may be in it by now."""
        while self.holds():
            gevent.sleep(LOOK_S)
        if self._log_file is not None and self._log_file.parent.is_dir():
            with suppress(AmocError):  # the log that was open may be one that nobody can read
                self._home.check()
                _write_to(self._log_file)
        pid, path = os.getpid(), self._home.pid_file(self._kind)
        log.error("%s (pid %d) ends: %s is no longer its own", self._kind, pid, path)
        self.leave("its home was removed, moved or made anew")

    def ready(self, what: str) -> None:
        """Say that commands are answered from now on; `what` is a line about it."""
        log.info("%s %s, pid %d: %s", self._kind, __version__, os.getpid(), what)
        notify(f"READY=1\nSTATUS={what}\n")

    def wait(self) -> None:
        """Return when the daemon shall end; from then on it has `END_S` for it."""
        self._leave.wait()
        faulthandler.dump_traceback_later(END_S, exit=True)
        log.info("%s ends: %s", self._kind, self._why)
        notify("STOPPING=1\n")

    def leave(self, why: str) -> None:
        """Have `wait` return."""
        self._why = self._why or why
        self._leave.set()

    def services(
        self, may_end: Callable[[bool], None], describe: Callable[[], Answer]
    ) -> dict[str, Callable[[Mapping[str, Any]], Answer]]:
        """Return what a daemon answers at its control socket.

        `may_end` gets whether it shall end by force, and raises an AmocError that says why not.
        `describe` returns the answer to `daemon`.
        """

        def shutdown(request: Mapping[str, Any]) -> Ending:
            may_end(request.get("force") is True)
            self.leave("shutdown")
            return Ending(self._kind, os.getpid())

        return {"daemon": lambda _: describe(), "shutdown": shutdown}

    def as_node(self) -> NodeDaemon:
        """Return how this process describes itself as a node."""
        return NodeDaemon("node", *self._described())

    def as_master(self, endpoints: tuple[str, str] | None, run: str | None) -> MasterDaemon:
        """Return how it describes itself as a master with these endpoints and inherited run."""
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
        except AmocError as error:  # the old file is open still
            log.error("%s", error)
        else:
            log.info("log reopened")


def _write_to(path: Path) -> None:
    """Have all that this process writes, an interpreter's last words included, go to `path`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AmocError(f"log file {path} cannot be written: {error.strerror}") from error
    for stream in (1, 2):
        os.dup2(opened, stream)
    os.close(opened)


def notify(state: str) -> None:
    """Tell a service manager how this process stands (sd_notify(3)), where there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.connect("\0" + address[1:] if address.startswith("@") else address)
            to.send(state.encode())
    except OSError as error:
        log.warning("nobody hears at NOTIFY_SOCKET %s: %s", address, error.strerror)
