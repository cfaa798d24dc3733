"""The generators of the benchmark `xmpp`: their commands, and the cost of their logins."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import notes
from benchmarks.generators import BENCHMARKS, amoc_run
from benchmarks.machine import cores, free_port, program
from benchmarks.peers.tsung_pairs import configuration
from benchmarks.process import Child
from benchmarks.scenarios.pairs import BODY
from benchmarks.servers.xmpp import DemoXmpp

LOGIN_PATIENCE_S = 300.0
"""For all logins: 10,000 TLS handshakes take a minute of the demo server's core."""

AT_ONCE = 1_000_000  # users a second: effectively no limit


@dataclass(frozen=True)
class Game:
    """The load: `users` in pairs, each answering a message after `pause` (s)."""

    port: int
    users: int
    pause: float = 0.0


@dataclass(frozen=True)
class Entry:
    """The cost of all logins in the process with the users: CPU (s) and memory (bytes)."""

    cpu_s: float
    held: float


@dataclass(frozen=True)
class Player:
    """One generator: its command line for a game, given an empty directory.

    `entry` waits until all users are logged in and returns the cost.
    """

    name: str
    command: Callable[[Game, Path], list[str]]
    entry: Callable[[Child, Path, DemoXmpp], Entry]
    environment: Callable[[], Mapping[str, str]] = field(default=dict)

    def start(self, game: Game, directory: Path) -> Child:
        """Start the generator on the generators' core."""
        return Child(self.command(game, directory), directory, cores()[0], self.environment())


def amoc(name: str, *, tracked: bool) -> Player:
    """Return amoc: `amoc run` with one worker and scenarios/pairs.py."""

    def command(game: Game, directory: Path) -> list[str]:
        return amoc_command(game, directory, tracked=str(tracked).lower())

    return Player(name, command, amoc_entry)


def amoc_command(game: Game, directory: Path, rate: int = AT_ONCE, **given: object) -> list[str]:
    """Return the command that runs scenarios/pairs.py with the settings `given`."""
    asked = {"port": game.port, "users": game.users, "pause": game.pause}
    settings = {**asked, **given, "notes": _notes(directory)}
    return [*amoc_run("pairs", game.users, directory, settings, rate), "--on-user-error", "stop"]


def amoc_entry(child: Child, directory: Path, _server: DemoXmpp) -> Entry:
    """Return the cost from the worker's notes before the first user and after the last login."""
    child.until(lambda: "logged in" in notes.read(_notes(directory)), "logged in", LOGIN_PATIENCE_S)
    before, after = (notes.read(_notes(directory))[name] for name in ("before", "logged in"))
    return Entry(after["cpu"] - before["cpu"], after["resident"] - before["resident"])


def slixmpp(name: str) -> Player:
    """Return plain slixmpp on one asyncio loop. It prints the cost of its logins."""

    def command(game: Game, _directory: Path) -> list[str]:
        script = str(BENCHMARKS / "peers/slixmpp_pairs.py")
        return [sys.executable, script, *map(str, (game.port, game.users, game.pause))]

    def entry(child: Child, _directory: Path, _server: DemoXmpp) -> Entry:
        child.until(lambda: "logged in" in child.said(), "logged in")
        cpu_s, held = child.said().split("logged in ")[1].split()[:2]
        return Entry(float(cpu_s), float(held))

    return Player(name, command, entry)


def tsung(name: str) -> Player:
    """Return Tsung, in its controller's virtual machine, with peers/tsung_pairs.py."""
    path = program("tsung", "tsung")

    def command(game: Game, directory: Path) -> list[str]:
        file, log = directory / "tsung.xml", directory / "log"
        file.write_text(configuration(game.port, game.users, BODY, game.pause))
        return [path, "-n", "-w", "0", "-f", str(file), "-l", str(log), "start"]

    def environment() -> Mapping[str, str]:
        # a private port mapper, because one that already runs must not be used or stopped
        return {"ERL_EPMD_PORT": str(free_port()), "ERL_EPMD_ADDRESS": "127.0.0.1"}

    return Player(name, command, _tsung_entry, environment)


def _tsung_entry(child: Child, directory: Path, server: DemoXmpp) -> Entry:
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
    return Entry(child.threads_cpu() - cpu_s, child.resident() - held)


def _notes(directory: Path) -> Path:
    return directory / "notes.json"
