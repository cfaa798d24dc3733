"""The benchmark `cluster`: one master with 1,000 nodes, and with a million users."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGKILL
from statistics import median
from typing import Any

from amoc_gevent import clock
from amoc_gevent.control.client import Control, UnansweredError
from amoc_gevent.errors import AmocError
from benchmarks.machine import ROOT, cores
from benchmarks.process import Child
from benchmarks.reports import CALLS, OPERATIONS
from benchmarks.table import Table, at_most, spread

AMOC = [sys.executable, str(ROOT / "bin/amoc")]
SCENARIO = ROOT / "benchmarks/scenarios/nothing.py"
NODE_PROCESSES = 4
FEW_CALLS = 10
RAMP_PATIENCE_S = 240.0
MB = 1 << 20

JOIN_BAR_S = 30
CHANGE_BAR_S = 2
LEASE_S = 10
REPLACE_BAR_S = 5
CPU_BAR = 50
HOUR_S = 3600
HOUR_BAR_MB = 200
DO_BAR_MS = 100
SHELL_BAR_MS = 200
WORKERS = 2
RATE = 20_000
"""Users a second, slow enough that the ramp lasts while status is measured."""


class Master:
    """A process of `amoc master`, with its control socket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        where = ["--bind", "127.0.0.1", "--port", "0", "--reports-port", "0", "--insecure"]
        where += ["--foreground", "--lease", f"{LEASE_S}s"]
        self.child = Child([*AMOC, "master", *where], directory, cores()[0])
        socket = directory / "master.sock"
        try:
            self.control = Control(socket)
            self.child.until(self._answers, "it answered")
            self.plans, self.reports = self.ask("daemon")["endpoints"]
        except BaseException:
            self.child.__exit__(None, None, None)
            raise

    def _answers(self) -> bool:
        try:
            self.ask("daemon")
        except UnansweredError:
            return False
        return True

    def ask(self, command: str, **more: object) -> dict[str, Any]:
        """Return the answer to a command."""
        return self.control.ask({"command": command, **more})

    def timed(self, command: str, **more: object) -> float:
        """Return how long the answer to a command took (ms)."""
        began = clock.monotonic()
        self.ask(command, **more)
        return (clock.monotonic() - began) * 1000

    def start(self, last: int, **more: object) -> float:
        """Start a run with the users 1 to `last`; return how long the answer took (ms)."""
        given = {"scenario": str(SCENARIO), "first": 1, "last": last, **more}
        return self.timed("do", **given)

    def counted(self) -> int:
        """Return the number of calls of all operations in this run so far."""
        operations = self.ask("status")["operations"].values()
        return sum(operation["count"] for operation in operations)

    def until_status(self, wanted: str) -> None:
        """Wait until the run has this status."""
        self.child.until(lambda: self.ask("status")["status"] == wanted, f"the run was {wanted}")


class SimulatedNodes:
    """Simulated nodes in several processes, and their progress."""

    def __init__(
        self, stack: ExitStack, master: Master, count: int, *, play: int = 0, calls: int = CALLS
    ) -> None:
        self._master = master
        self._notes: list[Path] = []
        self._processes: list[Child] = []
        each = -(-count // NODE_PROCESSES)
        for first in range(1, count + 1, each):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._notes.append(directory / "notes.json")
            size = min(each, count + 1 - first)
            numbers = [str(first), str(size), str(self._notes[-1]), "--play", str(play)]
            numbers += ["--calls", str(calls)]
            command = [
                sys.executable,
                "-m",
                "benchmarks.simulated_nodes",
                master.plans,
                master.reports,
            ]
            process = Child([*command, *numbers], directory, cores()[1])
            self._processes.append(stack.enter_context(process))
        self.count = count
        self.each = each

    def notes(self) -> list[dict[str, Any]]:
        """Return the notes of the processes that have started."""
        return [json.loads(path.read_text()) for path in self._notes if path.exists()]

    def joined(self) -> bool:
        """Return whether the master has acknowledged all nodes."""
        return sum(note["joined"] for note in self.notes()) == self.count

    def lose(self) -> float:
        """Kill the nodes of one process; return when (monotonic s)."""
        self._notes.pop()
        self._processes.pop().end(SIGKILL)
        return clock.monotonic()

    def got_at(self, version: int) -> float:
        """Wait until all nodes have this plan. Return when the last got it (monotonic s)."""

        def got() -> bool:
            return all(n["version"] >= version and n["got_at"] for n in self.notes())

        self._master.child.until(got, f"all nodes had plan {version}")
        return max(float(note["got_at"]) for note in self.notes())


def run(quick: bool) -> Table:
    """Measure a master with many nodes, then with many reports, then with many users."""
    nodes, seconds, changes, users = (300, 10, 5, 100_000) if quick else (1000, 30, 10, 1_000_000)
    table = Table("cluster: one master process, real sockets on loopback", NOTES, COLUMNS)
    _many_nodes(table, nodes, seconds, changes)
    _few_calls(table, nodes, seconds)
    _an_hour(table, 20 if quick else 100, HOUR_S // 6 if quick else HOUR_S)
    _many_users(table, users)
    return table


COLUMNS = ("figure", "of", "measured", "CPU s", "wall s", "bar")
NOTES = [
    "Simulated nodes: real messages once a second, 20 operations with two histograms. With",
    f"{CALLS} calls a histogram has about 42 buckets and a report 1,720; with {FEW_CALLS} calls,",
    f"10 and 400. {NODE_PROCESSES} processes on the other core. There is no peer to compare with.",
    "An hour: the same reports as fast as the master takes them, and the growth of its memory.",
    "A million users of a scenario that does nothing, on one node: times of the control socket.",
]


@contextmanager
def _master() -> Iterator[tuple[ExitStack, Master]]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        master = Master(directory)
        stack.enter_context(master.child)
        yield stack, master


def _many_nodes(table: Table, nodes: int, seconds: int, changes: int) -> None:
    with _master() as (stack, master):
        began, used = clock.monotonic(), master.child.threads_cpu()
        simulated = SimulatedNodes(stack, master, nodes)
        master.child.until(simulated.joined, f"{nodes} nodes had joined")
        joined = max(float(note["joined_at"]) for note in simulated.notes()) - began
        cpu = master.child.threads_cpu() - used
        bar = at_most(joined, JOIN_BAR_S, " s")
        table.add(
            "s until all have joined", f"{nodes:,} nodes", f"{joined:.2f}", f"{cpu:.2f}", "", bar
        )
        master.start(nodes)
        master.until_status("running")
        taken = []
        for _ in range(changes):
            asked = clock.monotonic()
            version = _version(master, simulated)
            taken.append(simulated.got_at(version) - asked)
        bar = at_most(max(taken), CHANGE_BAR_S, " s")
        table.add(
            "s until all have a new plan", f"{changes} changes", spread(taken, 2), "", "", bar
        )
        _steady(table, master, CALLS, seconds)
        memory = master.child.resident() / MB
        table.add("MB of the master", f"{nodes:,} nodes", f"{memory:.0f}", "", "", "")
        _many_lost(table, master, simulated)
        master.ask("stop")
        master.until_status("finished")


def _many_lost(table: Table, master: Master, simulated: SimulatedNodes) -> None:
    """Measure how long after the lease ends other nodes get the users of many dead nodes."""
    version = max(int(note["version"]) for note in simulated.notes()) + 1
    used, due = master.child.threads_cpu(), simulated.lose() + LEASE_S
    taken = simulated.got_at(version) - due
    cpu, wall = master.child.threads_cpu() - used, clock.monotonic() - due + LEASE_S
    of = f"{simulated.each} of {simulated.count:,} nodes"
    bar = at_most(taken, REPLACE_BAR_S, " s")
    table.add(
        "s from a lease's end until others have its users",
        of,
        f"{taken:.2f}",
        f"{cpu:.2f}",
        f"{wall:.1f}",
        bar,
    )
    lost = sum(node["state"] == "lost" for node in master.ask("nodes")["nodes"])
    if lost != simulated.each:
        raise AmocError(f"{lost} nodes are lost, but {simulated.each} were killed")


def _few_calls(table: Table, nodes: int, seconds: int) -> None:
    with _master() as (stack, master):
        _running(SimulatedNodes(stack, master, nodes, calls=FEW_CALLS), master)
        _steady(table, master, FEW_CALLS, seconds)


def _running(simulated: SimulatedNodes, master: Master) -> None:
    """Wait until all nodes have joined, then start a run on them."""
    master.child.until(simulated.joined, f"{simulated.count} nodes had joined")
    master.start(simulated.count)
    master.until_status("running")


def _version(master: Master, simulated: SimulatedNodes) -> int:
    """Add a user and return the version of the plan with it."""
    known = max(int(note["version"]) for note in simulated.notes())
    master.ask("add", count=1)
    return known + 1


def _steady(table: Table, master: Master, calls: int, seconds: int) -> None:
    """Measure the master's CPU time for `seconds` of reports, and the number of reports."""
    used, began, before = master.child.threads_cpu(), clock.monotonic(), master.counted()
    time.sleep(seconds)
    cpu, wall = master.child.threads_cpu() - used, clock.monotonic() - began
    taken = (master.counted() - before) / (OPERATIONS * calls)
    share = cpu / wall * 100
    of = f"{taken / wall:,.0f} reports/s of {calls} calls"
    bar = at_most(share, CPU_BAR, " %")
    table.add("% of a core", of, f"{share:.1f}", f"{cpu:.2f}", f"{wall:.1f}", bar)
    table.add("us of CPU for a report", of, f"{cpu / taken * 1e6:.0f}", "", "", "")


def _an_hour(table: Table, nodes: int, seconds: int) -> None:
    with _master() as (stack, master):
        simulated = SimulatedNodes(stack, master, nodes, play=seconds)
        _running(simulated, master)
        sizes: list[float] = []
        began, used = clock.monotonic(), master.child.threads_cpu()
        for quarter in range(1, 5):
            due = seconds * quarter // 4
            _until_played(master, simulated, due)
            sizes.append(master.child.resident() / MB)
        cpu, wall = master.child.threads_cpu() - used, clock.monotonic() - began
        grown = sizes[-1] - sizes[0]
        of = f"{nodes} nodes, {seconds:,} s"
        bar = at_most(sizes[-1], HOUR_BAR_MB, " MB")
        shown = " ".join(f"{size:.0f}" for size in sizes)
        table.add("MB at each quarter", of, shown, f"{cpu:.1f}", f"{wall:.1f}", bar)
        table.add("MB more from the first on", of, f"{grown:.0f}", "", "", "")


def _until_played(master: Master, simulated: SimulatedNodes, due: int) -> None:
    """Wait until `due` seconds are played, for as long as there is progress."""
    while (before := min(int(note["played"]) for note in simulated.notes())) < due:

        def further(before: int = before) -> bool:
            return min(int(note["played"]) for note in simulated.notes()) > before

        master.child.until(further, f"more than {before} s were played")


def _many_users(table: Table, users: int) -> None:
    with _master() as (stack, master):
        _join_a_node(stack, master)
        did = master.start(users, options={"user_rate": str(RATE), "repeat_interval": "1h"})
        of = f"{users:,} users"
        table.add("ms for `do`", of, f"{did:.1f}", "", "", at_most(did, DO_BAR_MS, " ms"))
        master.until_status("running")
        taken, used, began = [], master.child.threads_cpu(), clock.monotonic()
        shell = []
        while (status := master.ask("status"))["users"]["waiting"]:
            taken.append(master.timed("status"))
            shell.append(_from_the_shell(master))
            if status["status"] != "running" or clock.monotonic() > began + RAMP_PATIENCE_S:
                raise AmocError(f"the ramp did not end: {status}")
        cpu, wall = master.child.threads_cpu() - used, clock.monotonic() - began
        bar = at_most(max(taken), DO_BAR_MS, " ms")
        times = (f"{cpu:.2f}", f"{wall:.1f}")
        table.add("ms for `status` in the ramp", of, spread(taken), *times, bar)
        bar = at_most(median(shell), SHELL_BAR_MS, " ms")
        table.add("ms for `amoc status`", "the shell, in the ramp", spread(shell), "", "", bar)
        master.ask("stop", force=True)
        master.until_status("finished")


def _join_a_node(stack: ExitStack, master: Master) -> None:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    plans, reports = (endpoint.rpartition(":")[2] for endpoint in (master.plans, master.reports))
    where = ["--master", "127.0.0.1", "--port", plans, "--reports-port", reports, "--insecure"]
    how = ["--workers", str(WORKERS), "--foreground"]
    stack.enter_context(Child([*AMOC, "node", *where, *how], directory, cores()[1]))
    master.child.until(lambda: bool(master.ask("nodes")["nodes"]), "the node joined")


def _from_the_shell(master: Master) -> float:
    """Return the time of `amoc status` from exec to exit (ms)."""
    began = clock.monotonic()
    command: Sequence[str] = [*AMOC, "status", "--json"]
    environment = {"AMOC_HOME": str(master.directory), "PATH": "/usr/bin:/bin"}
    subprocess.run(command, capture_output=True, check=True, env=environment)
    return (clock.monotonic() - began) * 1000
