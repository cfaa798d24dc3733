"""A command on a terminal of its own: what it shows, what is typed."""

import os
import signal
import sys
import termios
from collections.abc import Mapping, Sequence

import psutil
from gevent.os import forkpty_and_watch, waitpid

from tests import rights
from tests.servers import ROOT, wait_for

AMOC = (sys.executable, "-m", "amoc_gevent")


class Terminal:
    """`amoc ARGUMENTS`, or another `command`, on a terminal of 24 lines and 100 columns."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *arguments: str,
        command: Sequence[str] = AMOC,
    ) -> None:
        rights.PTY.need()
        self.shown = b""
        self._status: int | None = None
        self._child, self._terminal = forkpty_and_watch()
        if self._child == 0:
            os.chdir(ROOT)
            env = {**environment, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
            for name in ("COLUMNS", "LINES"):  # which say how large another terminal is
                env.pop(name, None)
            os.execvpe(command[0], [*command, *arguments], env)
        self.resize(24, 100)
        os.set_blocking(self._terminal, False)

    def resize(self, rows: int, columns: int) -> None:
        """Make the terminal another size."""
        termios.tcsetwinsize(self._terminal, (rows, columns))

    def type(self, text: bytes) -> None:
        """Press keys."""
        os.write(self._terminal, text)

    def expect(self, text: bytes, timeout: float = 20.0) -> bytes:
        """Wait until `text` was shown since the last time that something was expected.

        Return what was shown before it.
        """

        def seen() -> bool:
            self._read()
            return text in self.shown

        wait_for(seen, timeout, f"{text!r} on the terminal; it shows {self.shown[-2000:]!r}")
        before, _, self.shown = self.shown.partition(text)
        return before

    def _read(self) -> None:
        try:
            self.shown += os.read(self._terminal, 65536)
        except BlockingIOError:
            pass
        except OSError:  # the command has ended
            pass

    def send(self, number: signal.Signals) -> None:
        """Send the command a signal."""
        os.kill(self._child, number)

    def stopped(self) -> bool:
        """Whether the command is suspended."""
        return psutil.Process(self._child).status() == psutil.STATUS_STOPPED

    def echoes(self) -> bool:
        """Whether the terminal is as a shell wants it: it echoes, and keeps lines together."""
        flags = termios.tcgetattr(self._terminal)[3]
        return bool(flags & termios.ECHO and flags & termios.ICANON)

    def wait(self) -> int:
        """Return the exit code of the command when it has ended."""

        def over() -> bool:
            self._read()
            pid, status = waitpid(self._child, os.WNOHANG)
            if pid:
                self._status = status
            return bool(pid)

        wait_for(over, 20, "the end of the command")
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    def close(self) -> None:
        """Hang up; what still runs is told."""
        os.close(self._terminal)
