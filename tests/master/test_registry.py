"""The registry of nodes, without sockets: the events in a report and the answers that are due."""

from typing import Any

import pytest

from amoc_gevent import clock
from amoc_gevent.core.messages import MessageError, Report
from amoc_gevent.core.run.node_events import (
    Forgotten,
    Joined,
    Left,
    Lost,
    NodeEvent,
    Refused,
    Reported,
    Returned,
)
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.plan import Plan
from amoc_gevent.master import registry as module
from amoc_gevent.master.registry import LEASE_SHARE, NodeRegistry

LEASE = 15.0
PLAN = Plan(7, "r")


class SetClock:
    """Both clocks, as the test sets them."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def steady(self) -> float:
        return 1000.0 + self.now


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    found = SetClock()
    monkeypatch.setattr(module, "clock", found)
    return found


def a_report(sequence: int = 1, name: str = "a", incarnation: str = "first", **more: Any) -> Report:
    return Report(
        name, incarnation, sequence, "r", "ready", **{"place": "here", "workers": 2, **more}
    )


def registry_of(*names: str, stored: bool = False) -> NodeRegistry:
    """Return a registry that these nodes have joined and been answered by."""
    found = NodeRegistry(LEASE, stored=stored)
    for name in names:
        found.process(a_report(name=name))
    found.take_due()
    return found


def kinds(found: list[NodeEvent]) -> list[str]:
    return [type(one).__name__ for one in found]


# Reports


def test_the_first_report_of_a_process_makes_it_join() -> None:
    registry = registry_of()
    report = a_report()
    joined, reported = registry.process(report)
    node = registry.nodes["a"]
    assert joined == Joined(node, None)
    assert reported == Reported(node, report)
    assert (node.workers, node.place) == (2, "here")
    assert kinds(registry.process(a_report(2))) == ["Reported"]


def test_a_repeated_report_yields_no_event() -> None:
    registry = registry_of("a")
    assert kinds(registry.process(a_report(2))) == ["Reported"]
    assert registry.process(a_report(2)) == []
    assert registry.counted["repeated reports"] == 1


def test_a_new_process_of_a_node_joins_again_and_its_former_one_only_measured() -> None:
    registry = registry_of("a")
    known = registry.nodes["a"]
    joined, _ = registry.process(a_report(1, incarnation="next"))
    assert joined == Joined(registry.nodes["a"], known)
    late = a_report(2, left=True)
    assert registry.process(late) == [Reported(known, late)]
    assert registry.nodes["a"].incarnation == "next"
    assert registry.nodes["a"].present
    acks = {node.incarnation: registry.ack(node, PLAN) for node in registry.take_due()}
    assert acks["first"].refused == "another process is node a now"
    assert (acks["first"].lease, acks["next"].refused) == (0.0, "")
    assert acks["next"].lease == LEASE * LEASE_SHARE


def test_a_second_node_of_a_name_is_refused_once_in_the_counts_and_at_each_report() -> None:
    registry = registry_of("a")
    for sequence in (1, 2):
        (refused,) = registry.process(a_report(sequence, incarnation="other", place="elsewhere"))
        assert isinstance(refused, Refused)
        assert refused.name == "a"
        assert refused.ack.incarnation == "other"
        assert refused.ack.refused == (
            "a node named a is here already, from here: give the one at elsewhere another --name"
        )
    assert registry.counted["refused nodes"] == 1
    assert registry.nodes["a"].incarnation == "first"


def test_the_name_of_a_lost_node_is_free_for_a_process_elsewhere(clocks: SetClock) -> None:
    registry = registry_of("a")
    clocks.now += LEASE / 4  # not so long that the master would seem to have stood still
    for _ in range(40):
        clocks.now += 0.5
        registry.check_leases()
    assert registry.nodes["a"].lost
    assert kinds(registry.process(a_report(1, incarnation="other", place="elsewhere"))) == [
        "Joined",
        "Reported",
    ]


def test_a_node_that_leaves_has_left_once() -> None:
    registry = registry_of("a")
    *_, left = registry.process(a_report(2, left=True))
    assert left == Left(registry.nodes["a"])
    assert kinds(registry.process(a_report(3, left=True))) == ["Reported"]
    (node,) = registry.take_due()
    assert registry.ack(node, PLAN).lease == 0.0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"name": ""}, "a node named ''"),
        ({"name": "a/b"}, "a node named 'a/b'"),
        ({"name": "x" * 101}, "a node named 'xxx"),
        ({"seconds": ((-1, None),)}, "about seconds in the future or before 1970"),
        ({"seconds": ((10**12, None),)}, "about seconds in the future or before 1970"),
        ({"seconds": ((5, None), (5, None))}, "repeats a second"),
    ],
)
def test_a_report_that_cannot_be_is_refused_whole(more: Any, told: str) -> None:
    registry = registry_of()
    with pytest.raises(MessageError, match=told):
        registry.process(a_report(**more))
    assert registry.nodes == {}
    assert registry.take_due() == []


# Leases


def pass_time(registry: NodeRegistry, clocks: SetClock, seconds: float) -> list[NodeEvent]:
    """Check the leases twice a second for so long; return the events."""
    found: list[NodeEvent] = []
    for _ in range(int(seconds * 2)):
        clocks.now += 0.5
        found += registry.check_leases()
    return found


def test_all_silent_nodes_are_lost_before_the_first_event(
    clocks: SetClock,
) -> None:
    registry = registry_of("a", "b", "c")
    assert pass_time(registry, clocks, LEASE) == []
    registry.process(a_report(2, name="c"))
    a, b, c = registry.nodes.values()
    assert pass_time(registry, clocks, 0.5) == [Lost(a), Lost(b)]
    assert (a.lost, b.lost, c.lost) == (True, True, False)
    assert pass_time(registry, clocks, 1.0) == []


def test_a_lost_node_that_reports_is_back(clocks: SetClock) -> None:
    registry = registry_of("a")
    pass_time(registry, clocks, LEASE + 1)
    node = registry.nodes["a"]
    assert kinds(registry.process(a_report(2))) == ["Reported", "Returned"]
    assert node.present
    assert node.heard == clocks.now
    assert node.received == 1000.0 + clocks.now


def test_an_old_report_brings_no_lost_node_back(clocks: SetClock) -> None:
    registry = registry_of("a")
    registry.process(a_report(3))
    pass_time(registry, clocks, LEASE + 1)
    assert kinds(registry.process(a_report(2))) == ["Reported"]
    assert registry.nodes["a"].lost
    assert Returned(registry.nodes["a"]) in registry.process(a_report(4))


def test_a_node_that_left_is_gone_after_the_lease_and_never_lost(clocks: SetClock) -> None:
    registry = registry_of("a")
    registry.process(a_report(2, left=True))
    node = registry.nodes["a"]
    assert pass_time(registry, clocks, LEASE + 1) == [Forgotten(node)]
    assert registry.nodes == {}


def test_a_stall_of_the_master_does_not_count_as_silence_of_nodes(clocks: SetClock) -> None:
    registry = registry_of("a")
    clocks.now += 100.0
    assert registry.check_leases() == []
    assert pass_time(registry, clocks, LEASE - 1) == []
    assert kinds(pass_time(registry, clocks, 2)) == ["Lost"]


# Answers


def test_an_answer_is_due_once_for_a_report_and_grants_less_than_the_lease() -> None:
    registry = registry_of()
    registry.process(a_report(sent=4.5))
    (node,) = registry.take_due()
    ack = registry.ack(node, PLAN)
    assert (ack.sequence, ack.sent, ack.run, ack.version) == (1, 4.5, "r", 7)
    assert ack.lease == LEASE * LEASE_SHARE
    assert registry.take_due() == []


def test_with_a_store_a_report_is_acknowledged_when_it_is_saved() -> None:
    registry = registry_of("a", stored=True)
    node = registry.nodes["a"]
    assert registry.ack(node, PLAN).sequence == 0
    assert registry.unsaved() == [node]
    registry.saved({"a": ("first", 1)})
    assert registry.take_due() == [node]
    assert registry.ack(node, PLAN).sequence == 1
    assert registry.unsaved() == []
    assert registry.unsaved(every=True) == [node]


def test_what_was_saved_of_a_former_process_acknowledges_nothing_of_the_next() -> None:
    registry = registry_of("a", stored=True)
    registry.process(a_report(1, incarnation="next"))
    registry.take_due()
    registry.saved({"a": ("first", 9), "b": ("first", 1)})
    assert registry.take_due() == []
    assert registry.nodes["a"].saved == 0


def test_nodes_that_the_last_master_knew_are_known() -> None:
    known = NodeView("a", "first", "here", heard=clock.monotonic())
    registry = NodeRegistry(LEASE, known=[known], stored=True)
    assert kinds(registry.process(a_report(5, oldest=5))) == ["Reported"]
    assert known.acknowledged == 5
