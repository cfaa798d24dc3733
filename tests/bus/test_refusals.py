"""A report that cannot be read is an event of the run."""

from amoc_gevent.bus.directory import SocketDirectory
from amoc_gevent.bus.refusals import REFUSALS_REPORTED, TEXT_MAX, Refusals
from amoc_gevent.bus.sockets import Puller, Pusher
from amoc_gevent.core.messages import decode_report
from amoc_gevent.node.home import NodeHome
from amoc_gevent.node.master_connection import MasterAddress
from amoc_gevent.node.node import Node


def test_refusals_are_limited_in_number_and_length() -> None:
    refusals = Refusals()
    events = [
        refusals.event("a node", ValueError("x" * 1000)) for _ in range(REFUSALS_REPORTED + 5)
    ]
    told = [event for event in events if event is not None]
    assert events[REFUSALS_REPORTED:] == [None] * 5
    assert len(told) == REFUSALS_REPORTED
    assert {(event.kind, len(event.text)) for event in told} == {("report-refused", TEXT_MAX)}


def test_a_node_tells_its_master_of_a_report_that_it_cannot_read() -> None:
    sockets = SocketDirectory()
    reports = Puller(sockets.endpoint("reports"))
    master = MasterAddress(sockets.endpoint("plans"), sockets.endpoint("reports"))
    node = Node("a", 1, master, NodeHome(sockets), print)
    worker = Pusher(sockets.endpoint("a.reports"))
    try:
        worker.push(b"\xc1")
        told = [event for _ in range(3) for event in decode_report(reports.pull()).events]
    finally:
        worker.close()
        node.close()
        reports.close()
        sockets.close()
    (event,) = told
    assert event.kind == "report-refused"
    assert event.text.startswith("a report of a worker was refused, its figures are lost: not a re")
