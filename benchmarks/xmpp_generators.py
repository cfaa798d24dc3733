"""The generators of the benchmark `xmpp`: their commands, and the cost of their logins."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import notes
from benchmarks.generators import BENCHMARKS, amoc_run
from benchmarks.machine import cores, private_port_mapper, program
from benchmarks.peers.tsung_pairs import configuration
from benchmarks.process import Child
from benchmarks.scenarios.pairs import BODY
from benchmarks.servers.xmpp import DemoXmpp

LOGIN_PATIENCE_S = 300.0
"""For all logins: 10,000 TLS handshakes take a minute of the demo server's core."""

AT_ONCE = 1_000_000  # users a second: effectively no limit


@dataclass(frozen=True)
class PairLoad:
    """The load: `users` in pairs, each answering a message after `pause` (s)."""

    port: int
    users: int
    pause: float = 0.0


@dataclass(frozen=True)
class LoginCost:
    """The cost of all logins in the process with the users: CPU (s) and memory (bytes)."""

    cpu_s: float
    held: float


@dataclass(frozen=True)
class XmppGenerator:
    """One generator: its command line for a load, given an empty directory.

    `login_cost` waits until all users are logged in and returns the cost.
    """

    name: str
    command: Callable[[PairLoad, Path], list[str]]
    login_cost: Callable[[Child, Path, DemoXmpp], LoginCost]
    environment: Callable[[], Mapping[str, str]] = field(default=dict)

    def start(self, load: PairLoad, directory: Path) -> Child:
        """Start the generator on the generators' core."""
        return Child(self.command(load, directory), directory, cores()[0], self.environment())


def amoc(name: str, *, tracked: bool) -> XmppGenerator:
    """Return amoc: `amoc run` with one worker and scenarios/pairs.py."""

    def command(load: PairLoad, directory: Path) -> list[str]:
        return amoc_command(load, directory, tracked=str(tracked).lower())

    return XmppGenerator(name, command, amoc_login_cost)


def amoc_command(
    load: PairLoad, directory: Path, rate: int = AT_ONCE, **given: object
) -> list[str]:
    """Return the command that runs scenarios/pairs.py with the settings `given`."""
    asked = {"port": load.port, "users": load.users, "pause": load.pause}
    settings = {**asked, **given, "notes": _notes(directory)}
    return [*amoc_run("pairs", load.users, directory, settings, rate), "--on-user-error", "stop"]


def amoc_login_cost(child: Child, directory: Path, _server: DemoXmpp) -> LoginCost:
    """Return the cost from the worker's notes before the first user and after the last login."""
    child.until(lambda: "logged in" in notes.read(_notes(directory)), "logged in", LOGIN_PATIENCE_S)
    before, after = (notes.read(_notes(directory))[name] for name in ("before", "logged in"))
    return LoginCost(after["cpu"] - before["cpu"], after["resident"] - before["resident"])


def slixmpp(name: str) -> XmppGenerator:
    """Return plain slixmpp on one asyncio loop. It prints the cost of its logins."""

    def command(load: PairLoad, _directory: Path) -> list[str]:
        script = str(BENCHMARKS / "peers/slixmpp_pairs.py")
        return [sys.executable, script, *map(str, (load.port, load.users, load.pause))]

    def login_cost(child: Child, _directory: Path, _server: DemoXmpp) -> LoginCost:
        child.until(lambda: "logged in" in child.said(), "logged in")
        cpu_s, held = child.said().split("logged in ")[1].split()[:2]
        return LoginCost(float(cpu_s), float(held))

    return XmppGenerator(name, command, login_cost)


def tsung(name: str) -> XmppGenerator:
    """Return Tsung, in its controller's virtual machine, with peers/tsung_pairs.py."""
    path = program("tsung", "tsung")

    def command(load: PairLoad, directory: Path) -> list[str]:
        file, log = directory / "tsung.xml", directory / "log"
        file.write_text(configuration(load.port, load.users, BODY, load.pause))
        return [path, "-n", "-w", "0", "-f", str(file), "-l", str(log), "start"]

    return XmppGenerator(name, command, _tsung_login_cost, private_port_mapper)


def _tsung_login_cost(child: Child, directory: Path, server: DemoXmpp) -> LoginCost:
    """Measure from outside, starting about 20 ms before the first connection."""
    users = (directory / "tsung.xml").read_text().count("<session ")
    cpu_s = held = 0.0

    def has_begun() -> bool:
        nonlocal cpu_s, held
        if server.connections():
            return True
        cpu_s, held = child.threads_cpu(), child.resident()
        return False

    child.until(has_begun, "connecting")
    child.until(lambda: server.online() == users, "logged in")
    return LoginCost(child.threads_cpu() - cpu_s, child.resident() - held)


def _notes(directory: Path) -> Path:
    return directory / "notes.json"
