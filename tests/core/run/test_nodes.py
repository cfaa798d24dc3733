"""The master's view of a node: each report counts once, and the newest has its state."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.core.answers import UsersByState
from amoc_gevent.core.messages import Health, Report, UserCounts
from amoc_gevent.core.run.node_list import node_list
from amoc_gevent.core.run.nodes import NodeView


def report(sequence: int, oldest: int = 1) -> Report:
    return Report("a", "life", sequence, "run", "ready", oldest)


@given(st.lists(st.integers(1, 12), max_size=40))
def test_each_report_is_new_once_whatever_the_order(sequence: list[int]) -> None:
    node = NodeView("a", "life")
    new = [number for number in sequence if node.is_new(report(number))]
    assert sorted(new) == sorted(set(sequence))


@given(st.permutations(range(1, 9)), st.integers(0, 8))
def test_it_acknowledges_up_to_the_first_gap(order: list[int], taken: int) -> None:
    node = NodeView("a", "life")
    for number in order[:taken]:
        node.is_new(report(number))
    missing = min(set(range(1, 10)) - set(order[:taken]))
    assert node.acknowledged == missing - 1
    assert node.complete == (max(order[:taken], default=0) == node.acknowledged)


def test_dropped_reports_are_not_waited_for() -> None:
    node = NodeView("a", "life")
    assert node.is_new(report(1))
    assert node.is_new(report(5, oldest=4))
    assert node.acknowledged == 3
    assert node.is_new(report(4, oldest=4))
    assert node.acknowledged == 5
    assert node.complete


def test_a_restarted_master_continues_where_the_node_is() -> None:
    node = NodeView("a", "life")
    assert node.is_new(report(500, oldest=498))
    assert node.acknowledged == 497
    assert node.is_new(report(498, oldest=498))
    assert node.is_new(report(499, oldest=498))
    assert node.acknowledged == 500


def test_a_late_report_does_not_revert_the_state_of_the_node() -> None:
    node = NodeView("a", "life")
    newest = replace(report(3), state="stopped", plan_version=9, users=UserCounts(done=5))
    node.note(newest)
    node.note(report(2))
    assert (node.state, node.plan_version, node.users) == ("stopped", 9, UserCounts(done=5))


@pytest.mark.parametrize(
    ("run", "state", "expected"),
    [("run", "ready", True), ("old", "ready", False), ("run", "stopped", False)],
)
def test_it_follows_a_run_only_in_that_runs_state(run: str, state: str, expected: bool) -> None:
    node = NodeView("a", "life")
    node.note(report(1))
    assert node.follows(run, state) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize("flag", ["lost", "left"])
def test_a_node_that_is_gone_is_listed_without_users_and_load(flag: str) -> None:
    node = NodeView("a", "life", users=UserCounts(running=5), heard=1.0)
    node.health = (Health("a", 0, 1, 9, 0.5, 1000, 500, 1, 20, 1024),)
    (listed,) = node_list([node], 2.0).nodes
    assert (listed.users.running, listed.cpu, listed.lag_us) == (5, 0.5, 1000)
    setattr(node, flag, True)
    (listed,) = node_list([node], 2.0).nodes
    assert (listed.state, listed.users) == (flag, UsersByState())
    assert (listed.cpu, listed.lag_us) == (None, None)
