"""What fails in a cluster, one after the other: all users come back, none runs twice, all counts.

Each test is a run of its own on one cluster, whose parts are all there when it begins.
"""

import logging
import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from amoc_gevent import clock
from tests.lasting import lasting
from tests.net.cluster import HOSTS, WORKERS, Cluster
from tests.net.conftest import plugged
from tests.servers import wait_for

pytestmark = pytest.mark.timeout(300)

LEASE_S = 6.0
SHORT_S = 3.0
"""A fault well within the lease."""

USERS = range(1, 61)
A_SECOND = 10 * len(USERS)
"""What all users may send in a second; they pause for 100 ms after each request."""

log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with plugged(HOSTS, tmp_path_factory.mktemp("cluster")) as net:
        yield Cluster(net, LEASE_S)


@pytest.fixture
def cluster(_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, with all users of a new run there, 20 on each node."""
    _cluster.start()
    _cluster.target.reset()
    _cluster.do(USERS[0], USERS[-1])
    _cluster.target.until_seen(USERS)
    yield _cluster
    if _cluster.status()["status"] not in {"idle", "finished", "failed"}:
        _cluster.amoc("stop", "--force")


def back(cluster: Cluster, since: float, users: range = USERS) -> None:
    """Wait until all users are back, and tell how long it took."""
    cluster.until_back(users, since)
    log.info("all users were heard %.1f s after the fault", clock.monotonic() - since)


def assert_each_counts_once(cluster: Cluster, lost: int = 0) -> None:
    """End the run: no user ran twice at once, and both sides counted the same.

    What users were cut in may have reached the target or not, and `lost` is what processes that
    died may not have told.
    """
    operation, lives = cluster.end()
    log.info("the master counted %s, the target %s", operation, lives)
    assert lives["overlapping"] == 0, lives["findings"]
    assert lives["doubled"] == 0, lives["findings"]
    assert lives["missing"] == 0
    assert operation["errors"] == 0
    cut = operation["interrupted"]
    assert operation["count"] <= lives["requests"] <= operation["count"] + cut + lost


def places(cluster: Cluster) -> dict[int, str]:
    """Wait until all users are heard; return the address of each one's node."""
    seen: dict[int, str] = {}

    def all_heard() -> bool:
        seen.clear()
        seen.update(cluster.target.seen())
        return seen.keys() == {*USERS}

    wait_for(all_heard, 20, "all users to be heard")
    return seen


def until_as(cluster: Cluster, before: dict[int, str]) -> None:
    """Wait until each user is at its node of before."""
    wait_for(lambda: places(cluster) == before, what="each user where it was")


def test_a_nodes_link_is_down_for_less_than_the_lease(cluster: Cluster) -> None:
    node, before = cluster.nodes[0], places(cluster)
    node.link_down()
    lasting(SHORT_S)
    assert not cluster.users_at(node)
    node.link_up()
    back(cluster, clock.monotonic())
    until_as(cluster, before)
    assert_each_counts_once(cluster)


def test_a_nodes_link_is_down_for_longer_than_the_lease(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    node.link_down()
    back(cluster, clock.monotonic() + 0.5)
    assert not cluster.users_at(node)
    cluster.until_present("n2", "n3")
    node.link_up()
    healed = clock.monotonic()
    cluster.until_present("n1", "n2", "n3")
    back(cluster, healed)
    cluster.amoc("rebalance")
    wait_for(
        lambda: sorted(Counter(places(cluster).values()).values()) == [20, 20, 20],
        what="a third of the users on each node",
    )
    assert_each_counts_once(cluster)


def test_a_node_that_hears_no_master_lets_its_users_go_before_others_take_them(
    cluster: Cluster,
) -> None:
    """The target hears both sides all the time, and would hear a user who ran on each."""
    node = cluster.nodes[1]
    node.cut_off(cluster.master)
    parted = clock.monotonic()
    assert cluster.users_at(node)
    cluster.until_present("n1", "n3")
    cluster.target.until_back(USERS, clock.monotonic(), parted + LEASE_S + 5 - clock.monotonic())
    assert not cluster.users_at(node)
    node.heal()
    cluster.until_present("n1", "n2", "n3")
    back(cluster, clock.monotonic())
    assert_each_counts_once(cluster)


def test_the_masters_link_is_down_for_less_than_the_lease(cluster: Cluster) -> None:
    before = places(cluster)
    cluster.master.link_down()
    down = clock.monotonic()
    back(cluster, down + 0.5)
    lasting(max(0.0, down + SHORT_S - clock.monotonic()))
    cluster.master.link_up()
    back(cluster, clock.monotonic())
    until_as(cluster, before)
    assert_each_counts_once(cluster)


def test_the_masters_link_is_down_for_longer_than_the_lease(cluster: Cluster) -> None:
    """Then nobody may have users: they end by themselves, and come back when the master does."""
    cluster.master.link_down()
    wait_for(lambda: not cluster.target.seen(), LEASE_S + 5, "the end of all users")
    cluster.master.link_up()
    back(cluster, clock.monotonic())
    cluster.until_present("n1", "n2", "n3")
    assert_each_counts_once(cluster)


def test_a_machine_that_stood_still_does_not_go_on_with_users_that_others_have(
    cluster: Cluster,
) -> None:
    """It finds itself beyond its lease in the middle of whatever it did."""
    node = cluster.nodes[0]
    workers = cluster.worker_pids(node)
    with cluster.frozen(node):
        back(cluster, clock.monotonic() + 0.5)
        cluster.until_present("n2", "n3")
    cluster.until_present("n1", "n2", "n3")
    back(cluster, clock.monotonic())
    assert not cluster.users_at(node)
    wait_for(lambda: not {*workers} & {*node.pids()}, what="the end of the workers of before")
    cluster.amoc("rebalance")
    wait_for(lambda: len(cluster.users_at(node)) == len(USERS) / 3, what="users there again")
    ends = [
        event["text"] for event in cluster.amoc("summary")["events"] if event["kind"] == "fenced"
    ]
    assert len(ends) == WORKERS, ends
    assert_each_counts_once(cluster)


def test_the_master_is_killed_and_started_again(cluster: Cluster) -> None:
    before, run = places(cluster), cluster.status()["run"]
    told = wait_for(lambda: cluster.status()["operations"].get("GET /check"), what="a report")
    died = cluster.kill(cluster.master)
    back(cluster, died + 0.5)
    cluster.start_master()
    cluster.until_present("n1", "n2", "n3")
    back(cluster, clock.monotonic())
    status = cluster.status()
    assert (status["run"], status["status"]) == (run, "running")
    assert status["operations"]["GET /check"]["count"] >= told["count"]
    until_as(cluster, before)
    assert_each_counts_once(cluster)


def test_one_packet_in_twenty_of_a_node_is_lost(cluster: Cluster) -> None:
    node, began = cluster.nodes[1], clock.monotonic()
    node.drop(one_in=20)
    lasting(SHORT_S)
    back(cluster, began + SHORT_S)
    node.heal()
    back(cluster, clock.monotonic())
    assert_each_counts_once(cluster)


def test_a_proxy_between_a_node_and_the_master_stalls(cluster: Cluster) -> None:
    before = places(cluster)
    for _ in range(2):
        cluster.stall_proxy()
        back(cluster, clock.monotonic())
    until_as(cluster, before)
    cluster.until_present("n1", "n2", "n3")
    assert_each_counts_once(cluster)


def test_a_worker_is_killed(cluster: Cluster) -> None:
    node, before = cluster.nodes[0], places(cluster)
    workers = cluster.worker_pids(node)
    assert len(workers) == WORKERS
    os.kill(workers[0], signal.SIGKILL)
    died = clock.monotonic()
    back(cluster, died + 0.5)
    until_as(cluster, before)
    assert_each_counts_once(cluster, lost=A_SECOND // 6)


def test_a_node_is_killed_and_started_again(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    died = cluster.kill(node)
    back(cluster, died + 0.5)
    assert not cluster.users_at(node)
    wait_for(lambda: not node.pids(), what="the end of the node's workers")
    cluster.start_node(node)
    cluster.amoc("add", 6)
    grown = range(1, len(USERS) + 7)
    back(cluster, clock.monotonic(), grown)
    assert cluster.users_at(node)
    assert_each_counts_once(cluster, lost=A_SECOND // 3)
