"""The benchmark `users`: how fast a worker starts users, and the memory of each."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from statistics import median

from benchmarks import notes
from benchmarks.generators import amoc_run, locust_run
from benchmarks.machine import cores, package
from benchmarks.process import Child
from benchmarks.table import Table, at_least, at_most, ratio, spread

FASTEST = 1_000_000  # users a second: effectively no limit
SLOWEST = 1
SETTLED_S = 1.0
STARTS_BAR = 30_000
SLEEPING_BAR = 12 * 1024
AT_REST_BAR = 300


@dataclass(frozen=True)
class UserCost:
    """The figures of one run.

    Wall and CPU time until the last user ran its first line, and the growth of the process's memory
    (bytes) from before the first user until all users had started.
    """

    users: int
    wall_s: float
    cpu_s: float
    held: float

    @property
    def per_s(self) -> float:
        """Users started per second."""
        return self.users / self.wall_s

    @property
    def each(self) -> float:
        """Bytes per user."""
        return self.held / self.users


def run(quick: bool) -> Table:
    """Measure sleeping users in turn with Locust, then resting users, then waiting ones."""
    rounds, asleep, at_rest = (3, 30_000, 200_000) if quick else (3, 100_000, 1_000_000)
    table = Table(_title(), _notes(rounds), COLUMNS)
    ours: list[UserCost] = []
    peers: list[UserCost] = []
    for _ in range(rounds):
        ours.append(_ours(asleep, FASTEST, sleep=True))
        peers.append(_locust(asleep))
    resting, waiting = _ours(at_rest, FASTEST, sleep=False), _ours(at_rest, SLOWEST, sleep=False)
    theirs = [_locust(at_rest, SLOWEST)]
    _add_starts(table, ours, peers)
    _add_memory(table, "bytes asleep in start", ours, peers, SLEEPING_BAR)
    _add_memory(table, "bytes between two rounds", [resting], peers[:1], AT_REST_BAR)
    _add_memory(table, "bytes before the start", [waiting], theirs, AT_REST_BAR)
    return table


COLUMNS = ("of each user", "by", "users", "figure", "CPU s", "wall s", "ours / peer's", "bar")


def _ours(users: int, rate: int, *, sleep: bool) -> UserCost:
    """Start users that sleep in their first iteration or rest after it; at SLOWEST, only one."""
    with tempfile.TemporaryDirectory() as name:
        home, path = Path(name), Path(name) / "notes.json"
        given = {"users": users, "notes": path, "sleep": str(sleep).lower()}
        command = [*amoc_run("idle_users", users, home, given, rate), "--repeat-interval", "1h"]
        span = ("first", "first" if rate == SLOWEST else "last")
        return _watched(command, home, path, users, span)


def _locust(users: int, rate: int = FASTEST) -> UserCost:
    with tempfile.TemporaryDirectory() as name:
        home, path = Path(name), Path(name) / "notes.json"
        command = locust_run("locust_idle_users", "Sleeper", users, min(users, rate))
        environment = {"USERS": str(users), "NOTES": str(path)}
        # measure from the start: Locust creates all users before the first one runs
        span = ("before", "first" if rate == SLOWEST else "last")
        return _watched(command, home, path, users, span, environment)


def _watched(
    command: Sequence[str],
    home: Path,
    path: Path,
    users: int,
    span: tuple[str, str],
    environment: dict[str, str] | None = None,
) -> UserCost:
    since, awaited = span
    with Child(command, home, cores()[0], environment) as child:
        child.until(lambda: awaited in notes.read(path), f"its {awaited} of {users} users started")
        time.sleep(SETTLED_S)
        taken = notes.read(path)
        held = notes.memory("VmRSS", int(taken["before"]["pid"])) - taken["before"]["resident"]
        child.end(SIGKILL)
    first, last = taken[since], taken[awaited]
    return UserCost(users, last["at"] - first["at"], last["cpu"] - first["cpu"], held)


def _add_starts(table: Table, ours: list[UserCost], peers: list[UserCost]) -> None:
    rates, theirs = [cost.per_s for cost in ours], [cost.per_s for cost in peers]
    bar = at_least(median(rates), STARTS_BAR)
    table.add("starts a second", "amoc", *_effort(ours, spread(rates, 0)), "", bar)
    times = f"{ratio(rates, theirs):.2f}"
    table.add("", "Locust", *_effort(peers, spread(theirs, 0)), times, "")


def _add_memory(
    table: Table, what: str, ours: list[UserCost], peers: list[UserCost], bar: float
) -> None:
    sizes, theirs = [cost.each for cost in ours], [cost.each for cost in peers]
    verdict = at_most(median(sizes), bar)
    table.add(what, "amoc", *_effort(ours, spread(sizes, 0)), "", verdict)
    times = f"{ratio(sizes, theirs):.2f}" if min(theirs) > 1 else ""
    table.add("", "Locust", *_effort(peers, spread(theirs, 0)), times, "")


def _effort(costs: list[UserCost], figure: str) -> tuple[str, str, str, str]:
    cpu, wall = median(c.cpu_s for c in costs), median(c.wall_s for c in costs)
    return f"{costs[0].users:,}", figure, f"{cpu:.2f}", f"{wall:.2f}"


def _title() -> str:
    return "users: start rate and memory of users in one worker, and in one Locust process"


def _notes(rounds: int) -> list[str]:
    return [
        f"{package('locust')}; median (least-greatest) of {rounds} rounds in turn (at rest: one).",
        "A user has started when it has run its first line. Times end when all have started. Ours",
        "begin with the first user, Locust's with its test: it creates all users before any runs.",
        "Memory: growth of the process's resident memory from before the first user to the last.",
        "Locust has no resting users: between two tasks they are sleeping greenlets.",
    ]
