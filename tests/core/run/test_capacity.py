"""Capacity: the cost of a user, the limits of a machine, and the tightest one."""

from math import inf

import pytest

from amoc_gevent.core.run.capacity import Machine, UserCost, at_rest, cost_of, limits

ROOMY = Machine(cores=100, memory=1e12, descriptors=10**9, ports=10**9, reuses_ports=True)
USER = UserCost(memory=100_000, base=50e6, descriptors=2, cpu=0.001, connections=0)


def most_users(cost: UserCost, machine: Machine, workers: int) -> dict[str, float]:
    return {one.name: one.max_users for one in limits(cost, machine, 1000, workers)}


@pytest.mark.parametrize(
    ("what", "machine", "most"),
    [
        # 2 workers hold 1,064 - 64 descriptors each for users who take 2
        ("descriptors", Machine(100, 1e12, 1064, 10**9, True), 1000),
        ("ports", Machine(100, 1e12, 10**9, 3000, True), 1500),
        # 0.9 of 1.1 GB, less two workers of 50 MB, in parts of 100 KB
        ("memory", Machine(100, 1.1e9, 10**9, 10**9, True), 8900),
        # 2 workers use 1.8 cores at most, of however many
        ("CPU", ROOMY, 1800),
    ],
)
def test_each_limit_is_the_resource_divided_by_the_cost_of_a_user(
    what: str, machine: Machine, most: float
) -> None:
    assert most_users(USER, machine, workers=2)[what] == most


def test_the_tightest_limit_is_first_and_breaks_above_its_maximum() -> None:
    first = limits(USER, Machine(100, 1e12, 10**9, 3000, True), 1500, 100)[0]
    assert (first.name, first.max_users) == ("ports", 1500)
    assert not first.breaks(1500)
    assert first.breaks(1501)
    assert "ip_local_port_range" in first.remedy


def test_ports_of_ended_connections_are_kept_for_a_minute_unless_they_are_reused() -> None:
    cost = UserCost(memory=0, base=0, descriptors=1, cpu=0, connections=0.5)
    reusing = Machine(1, 1e9, 10**6, 3100, reuses_ports=True)
    keeping = Machine(1, 1e9, 10**6, 3100, reuses_ports=False)
    assert most_users(cost, reusing, 1)["ports"] == 2066
    assert most_users(cost, keeping, 1)["ports"] == 100


def test_a_resource_that_users_do_not_need_is_no_limit() -> None:
    cost = UserCost(memory=0, base=50e6, descriptors=0, cpu=0, connections=0)
    assert set(most_users(cost, ROOMY, 1).values()) == {inf}


def test_a_machine_that_cannot_even_hold_its_workers_holds_no_user() -> None:
    assert most_users(USER, Machine(1, 10e6, 10**6, 10**6, True), 1)["memory"] == 0


@pytest.mark.parametrize(
    ("interval", "share"),
    [(1.0, 1.0), (59.0, 0.05), (0.0, 1.5)],
)
def test_users_that_rest_longer_take_less_of_what_iterations_use(
    interval: float, share: float
) -> None:
    cost = UserCost(memory=1.0, base=2.0, descriptors=3.0, cpu=0.1, connections=2.0)
    found = at_rest(cost, cycle=3.0, probed=1.0, interval=interval)
    assert (found.memory, found.base, found.descriptors) == (1.0, 2.0, 3.0)
    assert found.cpu == pytest.approx(0.1 * share, rel=0.02)
    assert found.connections == pytest.approx(2.0 * share, rel=0.02)


def test_the_cost_is_the_growth_per_additional_user() -> None:
    few = {"users": 1.0, "memory": 40.1e6, "descriptors": 20.0, "cpu": 0.05, "connections": 0.0}
    many = {"users": 41.0, "memory": 44.1e6, "descriptors": 60.0, "cpu": 0.25, "connections": 20.0}
    cost = cost_of(few, many)
    assert cost.memory == pytest.approx(100_000)
    assert cost.base == pytest.approx(40e6)
    assert cost.cpu == pytest.approx(0.005)
    assert (cost.descriptors, cost.connections) == (1.0, 0.5)
    assert cost_of(many, {**few, "users": 81.0}).memory == 0.0
