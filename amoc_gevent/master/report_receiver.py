"""Receives the nodes' reports, applies their effects to the run and acknowledges them.

The registry turns a report into events, the lifecycle decides which changes follow, and the run
state applies them.
"""

import logging
from collections.abc import Iterable

import gevent

from amoc_gevent import clock
from amoc_gevent.bus.refusals import Refusals
from amoc_gevent.bus.sockets import Puller
from amoc_gevent.bus.topics import ack_topic
from amoc_gevent.core.messages import Ack, MessageError, decode_report, encode
from amoc_gevent.core.run import lifecycle
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
from amoc_gevent.core.run.run import Run
from amoc_gevent.master.registry import NodeRegistry
from amoc_gevent.master.run_state import RunState, TopicPublisher

log = logging.getLogger(__name__)

AGAIN_S = 0.1
"""Shortest interval between publications of the plan for nodes that lack it."""


class ReportReceiver:
    """Receives reports from `puller` until closed, and answers nodes through `publisher`."""

    def __init__(
        self, puller: Puller, publisher: TopicPublisher, registry: NodeRegistry, state: RunState
    ) -> None:
        self._puller = puller
        self._publisher = publisher
        self._registry = registry
        self._state = state
        self._refusals = Refusals()
        self._refused_of: Run | None = None
        self._last_error = ""
        self._collecting = gevent.spawn(self._collect)

    def close(self) -> None:
        """Stop receiving."""
        self._collecting.kill()

    def check_leases(self) -> None:
        """Process the nodes that have fallen silent."""
        for event in self._registry.check_leases():
            self._handle(event)

    def acknowledge(self) -> None:
        """Acknowledge the nodes that reported, or whose reports were saved, since the last call."""
        for node in self._registry.take_due():
            try:
                self._answer(node.name, self._registry.ack(node, self._state.plan))
            except Exception:  # the boundary around one node's acknowledgement
                log.exception("node %s could not be acknowledged", node.name)

    def _answer(self, name: str, ack: Ack) -> None:
        self._publisher.send(ack_topic(name), encode(ack))

    def _collect(self) -> None:
        while True:
            try:
                report = decode_report(self._puller.pull())
            except MessageError as error:
                self._refuse(error)
                continue
            try:
                self._handle_all(self._registry.process(report))
            except MessageError as error:
                self._refuse(error)
            except Exception as error:  # the boundary around one report
                log.exception("a report of node %s", report.source)
                self._refuse(MessageError(f"a report of node {report.source}: {error!r}"))

    def _handle_all(self, found: Iterable[NodeEvent]) -> None:
        for event in found:
            self._handle(event)

    def _handle(self, event: NodeEvent) -> None:
        state = self._state
        match event:
            case Reported(node, report):
                state.add_report(node, report)
                if node.behind(state.plan) and self._is_overdue():
                    state.publish()
            case Refused(name, ack):
                self._answer(name, ack)
            case Forgotten(node):
                state.saver.forget(node)
            case _:
                _log(event)
                state.react(event)
                # Otherwise the next report triggers the plan: many nodes may join at once.
                if isinstance(event, Joined) and self._is_overdue():
                    state.publish()

    def _is_overdue(self) -> bool:
        """Return whether the plan may be published again. More nodes make it less frequent."""
        since = clock.monotonic() - self._state.published
        return since >= max(AGAIN_S, lifecycle.min_interval(self._registry.nodes))

    def _refuse(self, error: MessageError) -> None:
        """Count and record a report that cannot be used. Its figures are lost."""
        self._registry.counted["refused reports"] += 1
        if str(error) != self._last_error:  # log a repeated error once
            self._last_error = str(error)
            log.error("%s", error)
        run = self._state.run
        if run is not self._refused_of:
            self._refused_of, self._refusals = run, Refusals()
        refused = self._refusals.event("a node", error)
        if refused is not None and run is not None and run.active:
            self._state.event(refused.kind, refused.text)


def _log(event: NodeEvent) -> None:
    node: NodeView
    match event:
        case Joined(node, known):
            again = " again" if known is not None else ""
            log.info("%s joined%s", lifecycle.described(node), again)
        case Lost(node):
            log.warning("node %s is lost", node.name)
        case Left(node):
            log.info("node %s left", node.name)
        case Returned(node):
            log.info("node %s is back", node.name)
