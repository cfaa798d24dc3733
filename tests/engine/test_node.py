"""A node towards its master, which the test plays: reports are kept until they are acknowledged."""

from collections.abc import Iterator
from dataclasses import replace

import gevent
import pytest

from amoc_gevent import clock
from amoc_gevent.core.messages import Report, decode_report, encode
from amoc_gevent.core.nodes import NodeView
from amoc_gevent.core.plan import Plan
from amoc_gevent.engine import node as node_module
from amoc_gevent.engine.bus import Publisher, Puller, SocketDirectory
from amoc_gevent.engine.node import Node
from tests.engine.crowd import until


class PlayedMaster:
    """Collects what a node reports and publishes what the test wants."""

    def __init__(self, sockets: SocketDirectory) -> None:
        self.reports: list[Report] = []
        self._publisher = Publisher(sockets.endpoint("plans"))
        self._puller = Puller(sockets.endpoint("reports"))
        self._collecting = gevent.spawn(self._collect)

    def _collect(self) -> None:
        while True:
            self.reports.append(decode_report(self._puller.pull()))

    def publish(self, plan: Plan) -> None:
        self._publisher.publish(encode(replace(plan, time=clock.monotonic())))

    def garble(self, data: bytes) -> None:
        self._publisher.publish(data)

    def acknowledge(self, incarnation: str, last: int) -> None:
        self.publish(Plan(acks={"here": (incarnation, last)}))

    def times(self, sequence: int) -> int:
        """Return how often a report came."""
        return sum(report.sequence == sequence for report in self.reports)

    def close(self) -> None:
        self._collecting.kill()
        self._publisher.close()
        self._puller.close()


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedMaster]:
    """A played master, and a node that has no run, reports often and keeps 50 reports."""
    monkeypatch.setattr(node_module, "RESEND_S", 0.05)
    monkeypatch.setattr(node_module, "TICK_S", 0.001)
    monkeypatch.setattr(node_module, "KEPT_REPORTS", 50)
    sockets = SocketDirectory()
    played = PlayedMaster(sockets)
    node = Node(
        "here", 1, sockets.endpoint("plans"), sockets.endpoint("reports"), sockets, lambda _: None
    )
    yield played
    node.close()
    played.close()
    sockets.close()


def test_a_node_tells_that_it_is_there_before_it_hears_of_any_run(master: PlayedMaster) -> None:
    until(lambda: len(master.reports) >= 2)
    first = master.reports[0]
    assert (first.source, first.sequence, first.run, first.state) == ("here", 1, "", "stopped")
    assert [report.sequence for report in master.reports[:2]] == [1, 2]


def test_a_report_comes_again_until_it_is_acknowledged(master: PlayedMaster) -> None:
    until(lambda: master.times(1) >= 3)
    incarnation = master.reports[0].incarnation
    until(lambda: master.acknowledge(incarnation, 1) or not kept(master, 1))
    came, number = master.times(1), newest(master).sequence
    until(lambda: newest(master).sequence > number + 10)
    assert master.times(1) == came


def newest(master: PlayedMaster) -> Report:
    return max(master.reports, key=lambda report: report.sequence)


def kept(master: PlayedMaster, sequence: int) -> bool:
    """Say whether the newest report tells that this one may come again."""
    return newest(master).oldest <= sequence


def test_an_acknowledgement_of_another_life_drops_nothing(master: PlayedMaster) -> None:
    until(lambda: master.reports)
    for _ in range(20):
        master.acknowledge("another life", 10**6)
        gevent.sleep(0.001)
    until(lambda: master.times(1) >= 3)


def test_more_reports_than_are_kept_stop_no_acknowledgement(master: PlayedMaster) -> None:
    until(lambda: master.reports and newest(master).sequence > 60)
    last = newest(master)
    assert last.sequence - last.oldest == 50
    view = NodeView("here", last.incarnation)
    view.is_new(last)
    assert view.acknowledged == last.oldest - 1


def test_garbage_instead_of_a_plan_is_passed_over(master: PlayedMaster) -> None:
    until(lambda: master.reports)
    for data in (b"", b"\xc1", b"hello"):
        master.garble(data)
    incarnation = master.reports[0].incarnation
    until(lambda: master.acknowledge(incarnation, 1) or not kept(master, 1))


def test_a_run_that_is_over_before_the_node_heard_of_it_needs_no_workers(
    master: PlayedMaster,
) -> None:
    until(lambda: master.reports)

    def told() -> bool:
        master.publish(Plan(version=3, run="brief", status="stopping"))
        return any(report.run == "brief" for report in master.reports)

    until(told)
    assert {r.state for r in master.reports if r.run == "brief"} == {"stopped"}
