"""The benchmark `cli`: the time that `amoc --help` takes."""

import os
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

from amoc_gevent import clock
from amoc_gevent.errors import AmocError
from benchmarks.machine import ROOT, cores, package, program
from benchmarks.table import Table, at_most, ratio, spread

BAR_MS = 150


def run(quick: bool) -> Table:
    """Run each command in turn."""
    rounds = 5 if quick else 15
    commands = {
        "amoc --help": [sys.executable, str(ROOT / "bin/amoc"), "--help"],
        "locust --help": [sys.executable, "-m", "locust", "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            taken[name].append(_times(command))
    table = Table("cli: from exec to exit", _notes(rounds), COLUMNS)
    mine = [wall for wall, _ in taken["amoc --help"]]
    for name, times in taken.items():
        walls = [wall for wall, _ in times]
        is_ours = walls == mine
        table.add(
            name,
            spread(walls),
            f"{median(cpu for _, cpu in times):.1f}",
            "" if is_ours else f"{ratio(mine, walls):.2f}",
            at_most(median(mine), BAR_MS, " ms") if is_ours else "",
        )
    return table


COLUMNS = ("command", "wall ms", "CPU ms", "ours / peer's", "bar")


def _times(command: Sequence[str]) -> tuple[float, float]:
    pinned = [program("taskset", "util-linux"), "-c", str(cores()[0]), *command]
    began = clock.monotonic()
    process = subprocess.Popen(
        pinned, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = clock.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise AmocError(f"{' '.join(command)} ended with code {process.returncode}, not 0")
    return wall * 1000, (used.ru_utime + used.ru_stime) * 1000


def _notes(rounds: int) -> list[str]:
    return [f"{package('locust')}; median (least-greatest) of {rounds} rounds in turn"]
