"""Machines that stand still for longer than the lease and go on: the run does, too."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from tests.integration.conftest import Amoc
from tests.integration.homes import TCP, Daemons, daemons_of
from tests.lasting import lasting
from tests.servers import Demo, wait_for

LEASE_S = 2.0
USERS = 20
STATES = ("waiting", "running", "resting", "done")


class Still:
    """The processes of a master and two nodes, any of which may stand still."""

    def __init__(self, daemons: Daemons) -> None:
        self._daemons = daemons
        daemons.master(*TCP, "--insecure", "--lease", f"{LEASE_S:g}s")
        self.pids: dict[str, int] = {"master": daemons.describe()["pid"]}
        for name in ("n1", "n2"):
            where = [*daemons.where(), "--insecure", "--name", name]
            home = {"AMOC_HOME": str(daemons.amoc.directory / name)}
            said = daemons.good("node", *where, "--workers", 1, env=home)
            self.pids[name] = int(said.partition("pid ")[2].partition(":")[0])

    def workers(self, name: str) -> list[int]:
        """Return the worker processes of a node."""
        return [child.pid for child in psutil.Process(self.pids[name]).children()]

    def status(self) -> dict[str, Any]:
        """Return how the run stands: its states always sum to all users, and nobody is done."""
        status = self.amoc("status")
        users = status["users"]
        assert (sum(users[state] for state in STATES), users["done"]) == (USERS, 0), users
        assert status["status"] == "running", status
        return status

    def until_all_work(self) -> None:
        """Wait until all users are there, and then until they have done more than before."""

        def all_there() -> bool:
            users = self.status()["users"]
            return bool(users["running"] + users["resting"] == USERS)

        def requests() -> int:
            return sum(found["count"] for found in self.status()["operations"].values())

        wait_for(all_there, 30, "all users")
        before = requests()
        wait_for(lambda: requests() >= before + 3 * USERS, 30, "requests of all users")

    @contextmanager
    def frozen(self, pids: list[int]) -> Iterator[None]:
        """Have these processes stand still, and go on at the end of the block."""
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)

    def events(self) -> list[str]:
        """Return the kinds of all events of the run."""
        return [event["kind"] for event in self.amoc("summary")["events"]]

    def amoc(self, *arguments: object) -> dict[str, Any]:
        """Run a command to a good end; return its answer."""
        answer: dict[str, Any] = self._daemons.json(*arguments)
        return answer


@pytest.fixture
def still(amoc: Amoc) -> Iterator[Still]:
    for daemons in daemons_of(amoc):
        found = Still(daemons)
        try:
            yield found
        finally:
            for name in ("n1", "n2"):
                code, said = amoc.run(
                    "shutdown", "--force", env={"AMOC_HOME": str(amoc.directory / name)}
                )
                assert code == 0, said


def supervisor(still: Still) -> list[int]:
    return [still.pids["n2"]]


def workers(still: Still) -> list[int]:
    return still.workers("n2")


def machine(still: Still) -> list[int]:
    return [*still.workers("n2"), still.pids["n2"]]


def both(still: Still) -> list[int]:
    return [*machine(still), *still.workers("n1"), still.pids["n1"]]


def all_with_the_master(still: Still) -> list[int]:
    return [*both(still), still.pids["master"]]


@pytest.mark.parametrize(
    ("who", "nodes"),
    [
        (machine, ""),
        (machine, "n2"),
        (supervisor, "n2"),
        (workers, "n2"),
        (both, ""),
        (all_with_the_master, ""),
    ],
)
def test_a_run_goes_on_with_all_its_users_after_who_stood_still(
    still: Still, demo: Demo, who: Callable[[Still], list[int]], nodes: str
) -> None:
    chosen = ["--nodes", nodes] if nodes else []
    chosen += ["--set", f"url={demo.url}", "--set", "pause=100ms", "--set", "requests=10"]
    rates = ["--repeat-interval", "100ms", "--user-rate", "200/s", "--duration", "10m"]
    still.amoc("do", "http_check", 1, USERS, *rates, *chosen)
    still.until_all_work()

    fenced = still.events().count("fenced")
    with still.frozen(who(still)):
        lasting(2.5 * LEASE_S)
    wait_for(lambda: still.events().count("fenced") > fenced, 30, "users that were ended")
    still.until_all_work()

    assert still.amoc("stop")["status"] == "finished"
    [operation] = still.amoc("status")["operations"].values()
    lives = demo.counts()["lives"]
    assert (lives["overlapping"], lives["doubled"], lives["missing"]) == (0, 0, 0), lives
    counted, cut = operation["count"], operation["interrupted"]
    assert counted <= lives["requests"] <= counted + cut
    assert operation["errors"] == 0
