"""Daemons of a test's own home: started by the command line, ended for sure."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil

from amoc_gevent.control.client import Control
from amoc_gevent.daemon.home import KINDS, Home, Kind
from amoc_gevent.daemon.pidfile import holder
from tests.integration.conftest import Amoc
from tests.servers import wait_for

TCP = ("--bind", "127.0.0.1", "--port", 0, "--reports-port", 0)
"""Has a master listen at free ports, too: to nodes of other homes."""


class Daemons:
    """The master and the node of one home."""

    def __init__(self, amoc: Amoc) -> None:
        self.amoc = amoc
        self.home = Home(amoc.directory / "home")
        self.key = ""

    def master(self, *options: object) -> str:
        """Start a master in the background; return what was said."""
        return self.good("master", *options)

    def node(self, *options: object) -> str:
        """Start a node in the background that joins this home's master; return what was said."""
        return self.good("node", "--workers", 1, "--name", "one", *options)

    def where(self) -> tuple[str, ...]:
        """Return the options with which a node of another home joins this one's master."""
        plans, reports = (end.rpartition(":")[2] for end in self.describe("master")["endpoints"])
        return ("--master", "127.0.0.1", "--port", plans, "--reports-port", reports)

    def good(self, *arguments: object, env: dict[str, str] | None = None) -> str:
        """Run a command that succeeds; return its output."""
        code, said = self.amoc.run(*arguments, env=env)
        assert code == 0, said
        return said

    def json(self, *arguments: object) -> Any:
        """Run a command with `--json` and return what it wrote."""
        return json.loads(self.good(*arguments, "--json"))

    def control(self, kind: Kind = "master") -> Control:
        """Return a client of a daemon's control socket."""
        return Control(self.home.socket(kind))

    def describe(self, kind: Kind = "master") -> dict[str, Any]:
        """Return what a daemon says of itself."""
        return self.control(kind).ask({"command": "daemon"})

    def pid(self, kind: Kind = "master") -> int | None:
        """Return the pid of the daemon that runs."""
        return holder(self.home.pid_file(kind))

    def log(self, kind: Kind = "master") -> str:
        """Return all that a daemon has logged."""
        return self.home.log_file(kind).read_text()

    def kill(self, number: signal.Signals, kind: Kind = "master") -> int:
        """Send a signal to a daemon; return its pid."""
        pid = self.pid(kind)
        assert pid, f"no {kind} runs"
        os.kill(pid, number)
        return pid

    def expect_end(self, kind: Kind = "master") -> None:
        """Wait until the daemon is gone, with its files."""
        wait_for(lambda: self.pid(kind) is None, 20, f"the end of the {kind}")
        assert not self.home.socket(kind).exists()
        assert not self.home.pid_file(kind).exists()

    def end(self) -> None:
        """Kill what is left."""
        for kind in KINDS:
            if pid := self.pid(kind):
                with suppress(psutil.NoSuchProcess):
                    process = psutil.Process(pid)
                    for one in [process, *process.children(recursive=True)]:
                        one.kill()


def daemons_of(amoc: Amoc) -> Iterator[Daemons]:
    """Yield the daemons of a home of the test's own; fail if a process of theirs is left."""
    found = Daemons(amoc)
    try:
        yield found
    finally:
        found.end()
    wait_for(lambda: not amoc.processes(), what="the end of all processes")
