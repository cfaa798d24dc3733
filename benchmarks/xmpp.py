"""The benchmark `xmpp`: CPU time of a message between 200 users in pairs, on the demo server."""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from amoc_gevent import clock
from amoc_gevent.errors import AmocError
from benchmarks.machine import ROOT, cores, package
from benchmarks.process import Child
from benchmarks.servers.xmpp import DemoXmpp
from benchmarks.table import Table, spread

USERS = 200
WARM_MESSAGES = 1000

COLUMNS = (
    "generator",
    "CPU µs/message",
    "messages/s",
    "login CPU µs",
    "memory KB/user",
    "server's CPU µs/message",
)


@dataclass(frozen=True)
class Game:
    """What one generator took for each message (sent and received), and for each log-in."""

    cpu_us: float
    per_second: float
    login_us: float
    memory_kb: float
    server_us: float


def run(quick: bool) -> Table:
    """Measure the generator in rounds, each with a server of its own."""
    rounds, window_s = (2, 1.0) if quick else (3, 4.0)
    games = [_measure(window_s) for _ in range(rounds)]
    title = f"xmpp: {USERS} users in pairs play ping-pong on amoc demo xmpp, PLAIN, without TLS"
    note = f"{package('slixmpp')}; median (least-greatest) of {rounds} rounds of {window_s:g} s"
    table = Table(title, [note], COLUMNS)
    table.add(
        "slixmpp on asyncio",
        spread([game.cpu_us for game in games]),
        spread([game.per_second for game in games], 0),
        spread([game.login_us for game in games], 0),
        spread([game.memory_kb for game in games], 0),
        spread([game.server_us for game in games]),
    )
    return table


def _measure(window_s: float) -> Game:
    peer = str(ROOT / "benchmarks/peers/slixmpp_pairs.py")
    with tempfile.TemporaryDirectory() as name, DemoXmpp(_made(name, "server")) as server:
        command = [sys.executable, peer, str(server.port), str(USERS)]
        with Child(command, _made(name, "peer"), cores()[0]) as child:
            child.until(lambda: server.routed() >= WARM_MESSAGES, "warm")
            first = child.cpu(), clock.monotonic(), server.cpu(), server.routed()
            time.sleep(window_s)
            last = child.cpu(), clock.monotonic(), server.cpu(), server.routed()
            said = child.said()
            child.end(SIGKILL)
    cpu_s, wall_s, server_s, messages = (b - a for a, b in zip(first, last, strict=True))
    if not messages:
        raise AmocError(f"slixmpp fell silent; no message in {window_s:g} s:\n{said}")
    login_s, memory_kb = map(float, said.split("logged in ")[1].split())
    return Game(
        cpu_us=cpu_s / messages * 1e6,
        per_second=messages / wall_s,
        login_us=login_s / USERS * 1e6,
        memory_kb=memory_kb / USERS,
        server_us=server_s / messages * 1e6,
    )


def _made(home: str, name: str) -> Path:
    directory = Path(home) / name
    directory.mkdir()
    return directory
