"""A run on three nodes from `do` to `stop`: who has which users, and that both sides agree."""

import pytest

from tests.net.cluster import HOSTS, Cluster
from tests.net.conftest import Plug
from tests.servers import wait_for


def users_by_node(cluster: Cluster) -> list[int]:
    """How many users are there, as the nodes say themselves."""
    users = [node["users"] for node in cluster.present()]
    return [one["running"] + one["resting"] for one in users]


@pytest.mark.timeout(240)
def test_users_are_where_round_robin_puts_them_and_each_request_counts_once(plug: Plug) -> None:
    cluster = Cluster(plug(HOSTS), lease=15.0)
    cluster.start()
    assert [node["name"] for node in cluster.present()] == ["n1", "n2", "n3"]
    in_turn = {user: cluster.nodes[(user - 1) % 3] for user in range(1, 401)}

    cluster.do(1, 300, pause="250ms")
    cluster.until_placed({user: in_turn[user] for user in range(1, 301)})
    cluster.amoc("add", 100)
    cluster.until_placed(in_turn)
    cluster.amoc("remove", 50)
    cluster.until_placed({user: in_turn[user] for user in range(1, 351)})
    cluster.amoc("remove", 50, "--force")
    cluster.until_placed({user: in_turn[user] for user in range(1, 301)})
    wait_for(lambda: users_by_node(cluster) == [100, 100, 100], what="100 users on each node")
    users = cluster.status()["users"]
    assert (users["running"] + users["resting"], users["done"]) == (300, 100)

    operation, lives = cluster.end()
    answered = operation["count"] - operation["errors"]
    assert answered <= lives["requests"] <= operation["count"] + operation["interrupted"]
    assert operation["errors"] == 0
    assert operation["interrupted"] <= 50, "only a forced removal cuts requests"
    assert lives["users"] == 400
    told = {name: lives[name] for name in ("doubled", "missing", "overlapping", "late")}
    assert not any(told.values()), (told, lives["findings"])
