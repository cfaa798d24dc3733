"""The benchmark `recording`: CPU time to record an operation, and the memory of 1,000 names."""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from statistics import median

from benchmarks import notes
from benchmarks.generators import amoc_run, locust_run
from benchmarks.machine import cores, package
from benchmarks.process import Child
from benchmarks.table import Table, at_most, ratio, spread

NAMES = 1000
EACH = 1000
OPERATION_BAR_US = 1
MEMORY_BAR_MB = 100


@dataclass(frozen=True)
class Cost:
    """The result of one measurement: the figure, total CPU and wall time (s)."""

    figure: float
    cpu_s: float
    wall_s: float


def run(quick: bool) -> Table:
    """Measure the recording methods in turn, then the memory of a worker and of Locust."""
    rounds, count, seconds = (5, 20_000, 4) if quick else (9, 100_000, 10)
    table = Table(_title(), _notes(rounds, count, seconds), COLUMNS)
    costs = _costs(rounds, count)
    ours = costs.pop("amoc")
    _add(table, "CPU µs/operation", ours, costs, OPERATION_BAR_US)
    locust = {"Locust": [_memory_of_locust(seconds)]}
    _add(table, f"MB, {NAMES:,} names", [_memory_of_ours(seconds)], locust, MEMORY_BAR_MB)
    return table


COLUMNS = ("figure", "by", "median", "CPU s", "wall s", "ours / peer's", "bar")


def _costs(rounds: int, count: int) -> dict[str, list[Cost]]:
    """Measure in a separate process, because importing Locust monkey-patches the process."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "benchmarks.recording_methods", str(rounds), str(count)]
        with Child(command, Path(name), cores()[0]) as child:
            child.wait()
            taken: dict[str, list[tuple[float, float]]] = json.loads(child.result())
    return {
        way: [Cost(cpu_s / count * 1e6, cpu_s, wall_s) for cpu_s, wall_s in times]
        for way, times in taken.items()
    }


def _memory_of_ours(seconds: int) -> Cost:
    with tempfile.TemporaryDirectory() as name:
        home, path = Path(name), Path(name) / "notes.json"
        each = EACH // seconds
        given = {"names": NAMES, "each": each, "seconds": seconds, "notes": path}
        return _peak(amoc_run("names", 1, home, given), home, path)


def _memory_of_locust(seconds: int) -> Cost:
    with tempfile.TemporaryDirectory() as name:
        home, path = Path(name), Path(name) / "notes.json"
        given = {"NAMES": NAMES, "EACH": EACH // seconds, "SECONDS": seconds, "NOTES": path}
        environment = {name: str(value) for name, value in given.items()}
        return _peak(locust_run("locust_names", "Recorder", 1), home, path, environment)


def _peak(
    command: Sequence[str], home: Path, path: Path, environment: Mapping[str, str] | None = None
) -> Cost:
    with Child(command, home, cores()[0], environment) as child:
        child.until(lambda: "after" in notes.read(path), "all recorded")
        time.sleep(1)  # until the last second has been sent
        taken = notes.read(path)
        peak = notes.memory("VmHWM", int(taken["after"]["pid"]))
        child.end(SIGKILL)
    before, after = taken["before"], taken["after"]
    return Cost(peak / 1e6, after["cpu"] - before["cpu"], after["at"] - before["at"])


def _add(
    table: Table, figure: str, ours: list[Cost], peers: Mapping[str, list[Cost]], bar: float
) -> None:
    mine = [cost.figure for cost in ours]
    table.add(figure, "amoc", *_effort(ours), "", at_most(median(mine), bar))
    for name, theirs in peers.items():
        times = ratio(mine, [cost.figure for cost in theirs])
        table.add("", name, *_effort(theirs), f"{times:.2f}", "")


def _effort(costs: list[Cost]) -> tuple[str, str, str]:
    cpu, wall = median(c.cpu_s for c in costs), median(c.wall_s for c in costs)
    return spread([cost.figure for cost in costs], 2), f"{cpu:.3f}", f"{wall:.3f}"


def _title() -> str:
    return "recording: one operation; and the memory of a process that records many names"


def _notes(rounds: int, count: int, seconds: int) -> list[str]:
    return [
        f"{package('hdrhistogram')}, {package('locust')}",
        f"Operations: median (least-greatest) of {rounds} rounds in turn of {count:,}, the loop",
        "included; amoc and hdrhistogram record latency and first byte, Locust the latency. amoc",
        "also records its own lag whenever bytes arrive, of a request or not.",
        f"Memory: peak of the worker (of Locust's process); {EACH:,} requests of each name, spread",
        f"over {seconds} s; amoc sends a snapshot each second.",
    ]
