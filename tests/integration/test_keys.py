"""Keys between real daemons: whom the master knows may join, others may not and are named."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Amoc
from tests.integration.homes import TCP, Daemons, daemons_of
from tests.servers import wait_for

SCENARIO = """
from amoc_gevent import metrics, user


def start(user_id):
    with metrics.operation("work"):
        user.sleep(0.05)
"""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Daemons]:
    """A master whose home has keys."""
    yield from _home(tmp_path / "m")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Daemons]:
    """The home of another machine."""
    yield from _home(tmp_path / "n")


def _home(directory: Path) -> Iterator[Daemons]:
    directory.mkdir()
    with Amoc(directory) as amoc:
        for found in daemons_of(amoc):
            found.key = found.good("keys", "make").strip()
            yield found


def start_node(master: Daemons, node: Daemons, *options: object) -> str:
    """Start the node of one home for the master of another; return what was said."""
    return node.good("node", *master.where(), "--workers", 1, "--name", "far", *options)


def names(master: Daemons) -> list[str]:
    return [one["name"] for one in master.json("nodes")["nodes"]]


def test_machines_that_know_each_other_share_a_run(master: Daemons, other: Daemons) -> None:
    master.good("keys", "allow", "far", other.key)
    other.good("keys", "trust-master", master.key)
    master.master(*TCP)
    assert start_node(master, other).endswith(": joined master 127.0.0.1\n")

    path = master.amoc.scenario(SCENARIO)
    master.good("do", path, 1, 5, "--repeat-num", 1, "--user-rate", "500/s")
    wait_for(lambda: master.json("status")["status"] == "finished", 20, "the end of the run")
    assert master.json("summary")["operations"]["work"]["count"] == 5


def test_a_homes_own_node_joins_its_own_master(master: Daemons) -> None:
    master.good("keys", "trust-master", master.key)
    master.master(*TCP)
    assert master.node(*master.where()).endswith(": joined master 127.0.0.1\n")


def test_a_stranger_waits_and_is_named_until_it_is_allowed(master: Daemons, other: Daemons) -> None:
    master.master(*TCP)
    other.good("keys", "trust-master", master.key)
    assert start_node(master, other).endswith(": waiting for master 127.0.0.1\n")
    wait_for(lambda: other.key in master.log(), what="the stranger's key in the log")
    why = "the master does not answer this node's key"
    wait_for(lambda: why in other.log("node"), 30, "the node to say why")
    assert why in other.good("status")
    assert names(master) == []

    master.good("keys", "allow", "far", other.key)
    wait_for(lambda: names(master) == ["far"], 30, "the node that is allowed now")


def test_who_has_no_keys_may_not_join(master: Daemons, other: Daemons) -> None:
    master.master(*TCP)
    assert start_node(master, other, "--insecure").endswith(": waiting for master 127.0.0.1\n")
    wait_for(lambda: "the master wants keys" in other.log("node"), 30, "the node to say why")
    assert names(master) == []


def test_a_node_joins_no_master_but_the_one_it_trusts(master: Daemons, other: Daemons) -> None:
    master.good("keys", "allow", "far", other.key)
    other.good("keys", "trust-master", other.key)
    master.master(*TCP)
    assert start_node(master, other).endswith(": waiting for master 127.0.0.1\n")
    wait_for(lambda: "its own key is not the one" in other.log("node"), 30, "the node to say why")
    assert names(master) == []


def test_without_keys_on_both_sides_it_is_insecure(master: Daemons, other: Daemons) -> None:
    master.master(*TCP, "--insecure")
    assert start_node(master, other, "--insecure").endswith(": joined master 127.0.0.1\n")


def test_a_node_with_keys_says_that_its_master_has_none(master: Daemons, other: Daemons) -> None:
    other.good("keys", "trust-master", master.key)
    master.master(*TCP, "--insecure")
    assert start_node(master, other).endswith(": waiting for master 127.0.0.1\n")
    why = "the master has no keys: it was started with --insecure, this node without"
    wait_for(lambda: why in other.log("node"), 30, "the node to say why")
    assert why in other.good("status")
    assert other.log("node").count(why) == 1

    master.good("keys", "allow", "far", other.key)
    port, reports_port = (end.rpartition(":")[2] for end in master.describe()["endpoints"])
    master.good("shutdown", "master")
    ports = ("--port", port, "--reports-port", reports_port)
    master.master("--bind", "127.0.0.1", *ports)
    wait_for(lambda: names(master) == ["far"], 30, "the node to join the master that has keys")
    wait_for(lambda: why not in other.good("status"), 10, "the node to hear that it is accepted")
