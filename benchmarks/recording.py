"""The benchmark `recording`: what it costs to record an operation, and what 1,000 names hold."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from hdrh.histogram import HdrHistogram
from locust.stats import RequestStats

from amoc_gevent import clock
from amoc_gevent.metrics import recorder
from benchmarks.machine import package
from benchmarks.table import Table, at_most, ratio, spread

NAME = "GET /"
NAMES = 1000
EACH = 1000

Values = Sequence[tuple[int, int, int]]
"""Of each operation: its latency, its time to the first byte and the generator's lag, in µs."""


@dataclass(frozen=True)
class Way:
    """One way to record operations, `record` all of `values`."""

    name: str
    record: Callable[[Values], None]


def ours(values: Values) -> None:
    """Record as http.Session does: count, latency and first byte, and the generator's lag."""
    for total_us, first_us, lag_us in values:
        recorder.operation(NAME, total_us, None, first_us)
        recorder.lag(lag_us)
    recorder.take()


def hdrhistogram(values: Values) -> None:
    """Record the same three values, in histograms found by the name of the operation."""
    histograms = {NAME: [HdrHistogram(1, 3_600_000_000, 3) for _ in range(3)]}
    for total_us, first_us, lag_us in values:
        latency, first_byte, lag = histograms[NAME]
        latency.record_value(total_us)
        first_byte.record_value(first_us)
        lag.record_value(lag_us)


def locust(values: Values) -> None:
    """Record the latency alone, as Locust does."""
    stats = RequestStats()
    for total_us, _, _ in values:
        stats.log_request("GET", NAME, total_us / 1000, 35)


def run(quick: bool) -> Table:
    """Measure the three in turn."""
    rounds, count = (5, 20_000) if quick else (9, 100_000)
    values = _values(count)
    ways = [
        Way("amoc, 3 values", ours),
        Way("hdrhistogram, 3 values", hdrhistogram),
        Way("Locust's stats, 1 value", locust),
    ]
    taken: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            taken[way.name].append(_cost(way, values))
    table = Table(_title(), _notes(rounds, count), COLUMNS)
    mine = [cpu for cpu, _ in taken[ways[0].name]]
    for way in ways:
        cpus = [cpu for cpu, _ in taken[way.name]]
        table.add(
            way.name,
            spread(cpus, 2),
            f"{median(wall for _, wall in taken[way.name]):.2f}",
            "" if way is ways[0] else f"{1 / ratio(mine, cpus):.1f}x",
            at_most(median(cpus), 1, " µs") if way is ways[0] else "",
        )
    return table


COLUMNS = ("recorded with", "CPU µs/operation", "wall µs/operation", "ours is faster", "bar")


def _values(count: int) -> Values:
    dice = random.Random(1)  # the same for all
    found = []
    for _ in range(count):
        first = dice.lognormvariate(9.2, 0.5)  # around 10 ms
        found.append((int(first * 1.1), int(first), int(dice.expovariate(1 / 300))))
    return found


def _cost(way: Way, values: Values) -> tuple[float, float]:
    cpu, wall = clock.cpu_ns(), clock.monotonic_ns()
    way.record(values)
    cpu, wall = clock.cpu_ns() - cpu, clock.monotonic_ns() - wall
    return cpu / len(values) / 1000, wall / len(values) / 1000


def _title() -> str:
    return "recording: one operation in one process, the loop that does it included"


def _notes(rounds: int, count: int) -> list[str]:
    return [
        f"{package('hdrhistogram')}, {package('locust')}",
        f"median (least-greatest) of {rounds} rounds in turn, {count:,} operations each",
    ]
