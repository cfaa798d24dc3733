"""The benchmark `saturation`: whether a saturated generator still reports the true latency."""

import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from statistics import median

from amoc_gevent import clock
from benchmarks.generators import Generator, Load, Outcome, amoc, locust
from benchmarks.machine import cores, package
from benchmarks.peers.busy import turns_in
from benchmarks.process import Child
from benchmarks.servers.certificates import certificates
from benchmarks.table import Table, spread

USERS = 400
WORK_US = 300
GETS = 10
TOLERANCE = 0.10


@dataclass(frozen=True)
class Reading:
    """The figures of a generator and the probe for the same server at the same time."""

    generator: Outcome
    probe_us: float
    miscounted: int
    cpu_s: float
    wall_s: float

    @property
    def deviation(self) -> float:
        """The relative deviation of the generator's p50 from the probe's."""
        return self.generator.p50_us / self.probe_us - 1


def run(quick: bool) -> Table:
    """Measure amoc and Locust in turn, over TCP and over TLS."""
    rounds, window_s = (1, 2.0) if quick else (3, 3.0)
    ours, fast = amoc("amoc http.Session", "Session"), locust("Locust FastHttpUser", "Fast")
    taken: dict[tuple[str, str], list[Reading]] = defaultdict(list)
    turns = turns_in(WORK_US)
    with tempfile.TemporaryDirectory() as name:
        certificate, authority = certificates(Path(name), "127.0.0.1")
        for _ in range(rounds):
            for over, files in (("TCP", ("", "")), ("TLS", (certificate, authority))):
                for generator in (ours, fast):
                    reading = _measure(generator, turns, files, window_s)
                    taken[generator.name, over].append(reading)
    table = Table(_title(), _notes(rounds, window_s), COLUMNS)
    for over in ("TCP", "TLS"):
        for generator in (ours, fast):
            _add(table, generator, over, taken[generator.name, over], generator is ours)
    return table


COLUMNS = (
    "generator",
    "p50 ms",
    "probe's p50 ms",
    "deviation",
    "bar",
    "p99 ms",
    "lag's p50 ms",
    "own - server's",
    "CPU s",
    "wall s",
)


def _measure(generator: Generator, turns: int, files: tuple[str, str], window_s: float) -> Reading:
    certificate, authority = files
    with ExitStack() as stack:
        homes = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(3)]
        server = stack.enter_context(_module("late", homes[0], [certificate]))
        server.until(lambda: bool(server.said()), "listening")
        port = server.said()
        probe = stack.enter_context(_module("probe", homes[1], ["127.0.0.1", port, authority]))
        probe.until(lambda: "ready" in probe.said(), "connected")
        url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        load = Load(USERS, url, GETS, turns, authority)
        child = stack.enter_context(generator.start(load, homes[2]))
        idle = server.cpu()
        child.until(lambda: server.cpu() - idle > 0.2, "sending")
        time.sleep(1)
        first = child.cpu(), clock.monotonic()
        time.sleep(window_s)
        last = child.cpu(), clock.monotonic()
        outcome = generator.end(child, homes[2])
        probe.end(SIGTERM)
        server.end(SIGTERM)
        probed, served = _last(probe), _last(server)["requests"] - _last(probe)["requests"]
        cpu_s, wall_s = (b - a for a, b in zip(first, last, strict=True))
        return Reading(outcome, probed["p50_us"], outcome.requests - int(served), cpu_s, wall_s)


def _last(child: Child) -> dict[str, float]:
    figures: dict[str, float] = json.loads(child.result())
    return figures


def _module(name: str, directory: Path, arguments: Sequence[str]) -> Child:
    command = [sys.executable, "-m", f"benchmarks.servers.{name}", *filter(None, arguments)]
    return Child(command, directory, cores()[1])


def _add(
    table: Table, generator: Generator, over: str, readings: list[Reading], is_ours: bool
) -> None:
    deviation = median(reading.deviation for reading in readings)
    verdict = "met" if abs(deviation) <= TOLERANCE else "MISSED"
    lags = [r.generator.lag_p50_us for r in readings if r.generator.lag_p50_us is not None]
    table.add(
        f"{generator.name}, {over}",
        spread([reading.generator.p50_us / 1000 for reading in readings], 2),
        spread([reading.probe_us / 1000 for reading in readings], 2),
        f"{deviation:+,.1%}",
        f"± {TOLERANCE:.0%} {verdict}" if is_ours else "",
        f"{median(reading.generator.p99_us / 1000 for reading in readings):.1f}",
        f"{median(lags) / 1000:.1f}" if lags else "not measured",
        str(max((reading.miscounted for reading in readings), key=abs)),
        f"{median(reading.cpu_s for reading in readings):.2f}",
        f"{median(reading.wall_s for reading in readings):.2f}",
    )


def _title() -> str:
    return (
        f"saturation: {USERS} users compute for {WORK_US} µs after each answer, which the server "
        "delays by 10 ms; the generator's core is saturated"
    )


def _notes(rounds: int, window_s: float) -> list[str]:
    return [
        f"{package('locust')}; median (least-greatest) of {rounds} rounds in turn",
        "probe: another process on the server's core with one blocking socket and 30 requests a",
        "second at the same time; lag: time that answers waited in the kernel before the read;",
        f"CPU and wall: in {window_s:g} s after the ramp; own - server's: difference of their",
        "request counts in the whole run. Locust rounds percentiles to two digits.",
    ]
