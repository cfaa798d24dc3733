"""The benchmark `xmpp`: CPU and memory of users that exchange messages through the demo server.

Users exchange messages in pairs, first at full speed, then at a fixed rate. The last measurement
has many idle users that are only logged in.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGKILL

from amoc_gevent import clock
from amoc_gevent.errors import AmocError
from benchmarks.machine import answer, cores, package, program
from benchmarks.process import Child
from benchmarks.servers.certificates import certificates
from benchmarks.servers.xmpp import DemoXmpp
from benchmarks.table import Table, at_least, at_most, ratio, spread
from benchmarks.xmpp_generators import (
    LoginCost,
    PairLoad,
    XmppGenerator,
    amoc,
    amoc_command,
    amoc_login_cost,
    slixmpp,
    tsung,
)

USERS = 200
WARM_MESSAGES = 1000
PACE = 2000
PAUSE_S = USERS / 2 / PACE
"""Seconds before each answer. Each pair has one message on its way at a time."""

PACED_NOTE = f"As above, but each message is answered after {PAUSE_S * 1000:g} ms."

IDLE_USERS, FEW = 10_000, 1_000
RAMP = 1_000  # logins per second of the idle users
IDLE_BAR_KB = 40

COLUMNS = (
    "generator",
    "CPU µs/message",
    "messages/s",
    "login CPU µs",
    "memory KB/user",
    "server's CPU µs/message",
)


@dataclass(frozen=True)
class MessageCost:
    """The cost of one generator per message (sent and received) and per login."""

    cpu_us: float
    per_second: float
    login_us: float
    memory_kb: float
    server_us: float


Taken = dict[str, list[MessageCost]]


@dataclass(frozen=True)
class Comparison:
    """The ratio of a figure of ours to a peer's, and its bar, if there is one."""

    what: str
    ours: str
    peer: str
    figure: Callable[[MessageCost], float]
    bar: Callable[[float], str] | None = None


OURS, TRACKED, SLIXMPP, TSUNG = "amoc", "amoc, tracked", "slixmpp on asyncio", "Tsung"


def run(quick: bool) -> str:
    """Measure all generators in turn, at full speed and at a fixed rate, then the idle users.

    Generators that are compared run one after the other, because the machine's speed changes.
    """
    rounds, window_s = (1, 1.0) if quick else (7, 2.0)
    ours, tracked = amoc(OURS, tracked=False), amoc(TRACKED, tracked=True)
    generators = (tsung(TSUNG), ours, slixmpp(SLIXMPP), tracked)
    fast = _measure_all(generators, 0.0, rounds, window_s)
    paced = _measure_all(generators, PAUSE_S, 1 if quick else 2, window_s)
    tables = [
        _figures("xmpp", "at full speed", fast, _notes(rounds, window_s)),
        _comparisons("xmpp: the same, compared", FAST, fast),
        _figures("xmpp, paced", f"{PACE:,} messages a second in all", paced, [PACED_NOTE]),
        _comparisons("xmpp, paced: the same, compared", PACED, paced),
        _idle_users(FEW if quick else IDLE_USERS),
    ]
    return "\n".join(map(str, tables))


def _efficiency(costs: MessageCost) -> float:
    return 1e6 / costs.cpu_us


def _login(costs: MessageCost) -> float:
    return costs.login_us


def _memory(costs: MessageCost) -> float:
    return costs.memory_kb


MESSAGES, LOGIN, MEMORY = "messages/CPU s", "CPU/login", "memory/user"
FAST = (
    Comparison(MESSAGES, OURS, SLIXMPP, _efficiency, partial(at_least, bar=4)),
    Comparison(MESSAGES, TRACKED, SLIXMPP, _efficiency, partial(at_least, bar=3)),
    Comparison(MESSAGES, OURS, TSUNG, _efficiency, partial(at_least, bar=1)),
    Comparison(MESSAGES, TRACKED, TSUNG, _efficiency),
    Comparison(LOGIN, OURS, SLIXMPP, _login, partial(at_most, bar=0.5)),
    Comparison(LOGIN, OURS, TSUNG, _login, partial(at_most, bar=1)),
    Comparison(MEMORY, OURS, SLIXMPP, _memory, partial(at_most, bar=0.6)),
)
PACED = (
    Comparison(MESSAGES, OURS, SLIXMPP, _efficiency, partial(at_least, bar=1)),
    Comparison(MESSAGES, TRACKED, SLIXMPP, _efficiency),
    Comparison(MESSAGES, OURS, TSUNG, _efficiency, partial(at_least, bar=1)),
    Comparison(MESSAGES, TRACKED, TSUNG, _efficiency),
)


def _measure_all(
    generators: Sequence[XmppGenerator], pause: float, rounds: int, window_s: float
) -> Taken:
    taken: Taken = defaultdict(list)
    for _ in range(rounds):
        for generator in generators:
            taken[generator.name].append(_measure(generator, pause, window_s))
    return taken


def _measure(generator: XmppGenerator, pause: float, window_s: float) -> MessageCost:
    with tempfile.TemporaryDirectory() as name, DemoXmpp(_made(name, "server")) as server:
        directory = _made(name, "generator")
        with generator.start(PairLoad(server.port, USERS, pause), directory) as child:
            login_cost = generator.login_cost(child, directory, server)
            child.until(lambda: server.routed() >= WARM_MESSAGES, "warm")
            before = server.sent()
            first = child.threads_cpu(), clock.monotonic(), server.cpu(), server.routed()
            time.sleep(window_s)
            last = child.threads_cpu(), clock.monotonic(), server.cpu(), server.routed()
            silent = USERS - sum(count > before.get(who, 0) for who, count in server.sent().items())
            if silent:
                raise AmocError(f"{silent} of {generator.name}'s users are silent:\n{child.said()}")
            child.end(SIGKILL)
    cpu_s, wall_s, server_s, messages = (b - a for a, b in zip(first, last, strict=True))
    return MessageCost(
        cpu_us=cpu_s / messages * 1e6,
        per_second=messages / wall_s,
        login_us=login_cost.cpu_s / USERS * 1e6,
        memory_kb=login_cost.held / USERS / 1024,
        server_us=server_s / messages * 1e6,
    )


def _figures(what: str, pace: str, taken: Taken, notes: Sequence[str]) -> Table:
    title = f"{what}: {USERS} users in pairs play ping-pong, {pace}"
    table = Table(title, notes, COLUMNS)
    for name in (OURS, SLIXMPP, TRACKED, TSUNG):
        costs = taken[name]
        table.add(
            name,
            spread([one.cpu_us for one in costs]),
            spread([one.per_second for one in costs], 0),
            spread([one.login_us for one in costs], 0),
            spread([one.memory_kb for one in costs], 0),
            spread([one.server_us for one in costs]),
        )
    return table


def _comparisons(title: str, comparisons: Sequence[Comparison], taken: Taken) -> Table:
    table = Table(title, [], ("figure", "ours", "peer", "ours / peer's", "bar"))
    for one in comparisons:
        mine, theirs = ([one.figure(p) for p in taken[name]] for name in (one.ours, one.peer))
        times = ratio(mine, theirs)
        verdict = "" if one.bar is None else one.bar(times)
        table.add(one.what, one.ours, one.peer, f"{times:.2f}", verdict)
    return table


def _idle_users(users: int) -> Table:
    title = f"xmpp, idle: {users:,} users logged in from one worker, {RAMP:,} a second"
    notes = ["Memory: growth of the worker's resident memory from before the first user to all."]
    table = Table(title, notes, ("over", "memory KB/user", "login CPU µs", "bar"))
    with tempfile.TemporaryDirectory() as name:
        certificate, authority = certificates(Path(name), "localhost")
        for over, tls, chain in (("TCP", "none", ""), ("TLS", "starttls", certificate)):
            login_cost = _log_all_in(users, tls, chain, authority)
            kb = login_cost.held / users / 1024
            bar = "" if chain else at_most(kb, IDLE_BAR_KB, " KB")
            table.add(over, f"{kb:.1f}", f"{login_cost.cpu_s / users * 1e6:.0f}", bar)
    return table


def _log_all_in(users: int, tls: str, certificate: str, authority: str) -> LoginCost:
    with (
        tempfile.TemporaryDirectory() as name,
        DemoXmpp(_made(name, "server"), certificate) as server,
    ):
        directory = _made(name, "idle")
        given = {"tls": tls, "ca": authority, "play": "false"}
        command = amoc_command(PairLoad(server.port, users), directory, RAMP, **given)
        with Child(command, directory, cores()[0]) as child:
            login_cost = amoc_login_cost(child, directory, server)
            child.end(SIGKILL)
            return login_cost


def _notes(rounds: int, window_s: float) -> list[str]:
    versions = [package("slixmpp"), answer(program("tsung", "tsung"), "-v")]
    return [
        ", ".join(versions),
        f"median (least-greatest) of {rounds} rounds in turn, {window_s:g} s each after warm-up,",
        "each with a new demo server, PLAIN, no TLS. Each message is sent and received.",
        "CPU: user and system time of the generator with its helper processes. Logins and memory:",
        "of the process with the users, which all log in at once (slixmpp's: 50 at a time).",
        "Tsung sends fixed texts without an id and does not read incoming messages.",
    ]


def _made(home: str, name: str) -> Path:
    directory = Path(home) / name
    directory.mkdir()
    return directory
