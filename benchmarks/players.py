"""The generators of the benchmark `xmpp`: how each lets users in pairs play, and what it holds."""

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
"""For all log-ins: 10,000 hand-shakes of TLS take a minute of the demo server's core."""

AT_ONCE = 1_000_000  # users a second: a rate that limits nobody


@dataclass(frozen=True)
class Game:
    """What is asked for: so many users, who answer a message after a pause (s)."""

    port: int
    users: int
    pause: float = 0.0


@dataclass(frozen=True)
class Entry:
    """What all log-ins took of the process that holds the users: CPU (s) and memory (bytes)."""

    cpu_s: float
    held: float


@dataclass(frozen=True)
class Player:
    """One generator: its command line for a game, given an empty directory.

    `entry` waits until all are logged in and returns what that took.
    """

    name: str
    command: Callable[[Game, Path], list[str]]
    entry: Callable[[Child, Path, DemoXmpp], Entry]
    environment: Callable[[], Mapping[str, str]] = field(default=dict)

    def start(self, game: Game, directory: Path) -> Child:
        """Start it on the generators' core."""
        return Child(self.command(game, directory), directory, cores()[0], self.environment())


def amoc(name: str, *, tracked: bool) -> Player:
    """Return ourselves: `amoc run` with one worker and scenarios/pairs.py."""

    def command(game: Game, directory: Path) -> list[str]:
        return amoc_command(game, directory, tracked=str(tracked).lower())

    return Player(name, command, amoc_entry)


def amoc_command(game: Game, directory: Path, rate: int = AT_ONCE, **given: object) -> list[str]:
    """Return the command that runs scenarios/pairs.py with the settings `given`."""
    asked = {"port": game.port, "users": game.users, "pause": game.pause}
    settings = {**asked, **given, "notes": _notes(directory)}
    return [*amoc_run("pairs", game.users, directory, settings, rate), "--on-user-error", "stop"]


def amoc_entry(child: Child, directory: Path, _server: DemoXmpp) -> Entry:
    """Return what the worker notes of itself before the first user and after the last log-in."""
    child.until(lambda: "logged in" in notes.read(_notes(directory)), "logged in", LOGIN_PATIENCE_S)
    before, after = (notes.read(_notes(directory))[name] for name in ("before", "logged in"))
    return Entry(after["cpu"] - before["cpu"], after["resident"] - before["resident"])


def slixmpp(name: str) -> Player:
    """Return plain slixmpp on one asyncio loop, which says what its log-ins took."""

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
        # a port mapper of its own: one that already runs is not ours to use, nor to end
        return {"ERL_EPMD_PORT": str(free_port()), "ERL_EPMD_ADDRESS": "127.0.0.1"}

    return Player(name, command, _tsung_entry, environment)


def _tsung_entry(child: Child, directory: Path, server: DemoXmpp) -> Entry:
    """Look on from outside; from some 20 ms before the first connection on."""
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
