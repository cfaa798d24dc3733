"""Two machines whose workers load one scenario, and what they declare of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Amoc
from tests.integration.homes import TCP, Daemons, daemons_of
from tests.servers import wait_for

SCENARIO = """
import os

from amoc_gevent import metrics, settings, user

url = settings.declare("url", os.environ.get("SHOP", "http://shop"), "the shop", update=True)


def start(user_id):
    with metrics.operation("work"):
        user.sleep(0.05)
"""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Daemons]:
    """The home of a master and its node."""
    yield from _home(tmp_path / "m")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Daemons]:
    """The home of another machine."""
    yield from _home(tmp_path / "n")


def _home(directory: Path) -> Iterator[Daemons]:
    directory.mkdir()
    with Amoc(directory) as amoc:
        yield from daemons_of(amoc)


def start_both(master: Daemons, other: Daemons, shop: str) -> None:
    """Start two nodes, the second with another environment."""
    master.master(*TCP, "--insecure")
    master.node()
    far = ("--workers", 1, "--name", "far", "--insecure")
    other.good("node", *master.where(), *far, env={"SHOP": shop})
    wait_for(lambda: master.json("status")["nodes"] == 2, what="both nodes to join")


def test_nodes_that_disagree_fail_the_run_in_a_line_and_go_on(
    master: Daemons, other: Daemons
) -> None:
    start_both(master, other, "http://elsewhere")
    path = master.amoc.scenario(SCENARIO)
    code, said = master.amoc.run("do", path, 1, 4, "--user-rate", "500/s")
    assert code == 1
    *_, line = said.splitlines()
    assert sum("declarations" in one for one in said.splitlines()) == 1
    assert "of scenario mine: setting url: default '" in line
    assert "'http://shop' on node one" in line
    assert "'http://elsewhere' on node far" in line
    assert "--set" in line
    wait_for(lambda: master.json("status")["status"] == "failed", 20, "the end of the run")
    assert master.json("summary")["operations"] == {}

    path = master.amoc.scenario(SCENARIO.replace('os.environ.get("SHOP", "http://shop")', '"here"'))
    master.good("do", path, 1, 4, "--user-rate", "500/s", "--repeat-num", 1)
    wait_for(lambda: master.json("status")["status"] == "finished", 20, "the end of the next run")
    described = master.control().ask({"command": "describe"})
    assert master.json("describe") == described
    assert (described["name"], described["operations"]) == ("mine", ["work"])
    assert [(one["name"], one["default"]) for one in described["settings"]] == [("url", "here")]


def test_nodes_that_agree_run_together(master: Daemons, other: Daemons) -> None:
    start_both(master, other, "http://shop")
    path = master.amoc.scenario(SCENARIO)
    master.good("do", path, 1, 4, "--user-rate", "500/s", "--repeat-num", 1)
    wait_for(lambda: master.json("status")["status"] == "finished", 20, "the end of the run")
    assert master.json("summary")["operations"]["work"]["count"] == 4
