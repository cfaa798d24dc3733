"""The nodes of a master: which have joined, which are alive, and which reports each has sent.

The registry has no sockets: it takes decoded reports, returns events as data, and builds the
acknowledgements that are due.
"""

import logging
from collections.abc import Iterable

from amoc_gevent import clock
from amoc_gevent.core.messages import Ack, MessageError, Report
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

log = logging.getLogger(__name__)

LEASE_SHARE = 0.8
"""The share of the lease that a node is granted; it ends its users in the rest."""

STALL_S = 1.0
NAME_MAX = 100
AHEAD_MAX_S = 60.0
"""How far a node's estimate of the master's time may be ahead before the clocks are compared."""

GAPS_MAX = 10_000
"""Reports received after a gap. A node keeps fewer, so the missing ones will never come."""

REFUSALS_KEPT = 1000
FORMER_KEPT = 1000
"""Former processes of restarted nodes, whose reports may still arrive."""


class NodeRegistry:
    """The `nodes` by name, initially those `known` from the last master.

    The master waits `lease` seconds for a silent node. With `stored`, reports are acknowledged
    only after `saved` has confirmed them.
    """

    def __init__(self, lease: float, *, known: Iterable[NodeView] = (), stored: bool) -> None:
        self.nodes: dict[str, NodeView] = {node.name: node for node in known}
        self.lease = lease
        self._stored = stored
        self._former: dict[tuple[str, str], NodeView] = {}
        self._due: dict[tuple[str, str], NodeView] = {}
        self._refused: dict[str, str] = {}
        self.counted = {"refused reports": 0, "repeated reports": 0, "refused nodes": 0}
        self._looked = clock.monotonic()

    def process(self, report: Report) -> list[NodeEvent]:
        """Process a report and return its events. Raises MessageError if it is invalid."""
        self._check(report)
        name = report.source
        node = self.nodes.get(name)
        former = self._former.get((name, report.incarnation))
        if former is not None:  # its measurements count, but another process has its name and users
            return self._take_figures(former, report)
        now = clock.monotonic()
        events: list[NodeEvent] = []
        if node is None or node.incarnation != report.incarnation:
            if node is not None and node.present and node.place != report.place:
                return [self._refuse(node, report)]
            known, node = node, self._join(report, node)
            node.heard = now
            events.append(Joined(node, known))
        figures = self._take_figures(node, report)
        if not figures:
            return events
        events += figures
        if node.newest == report.sequence:
            node.heard, node.received = now, clock.steady()
            if node.lost:
                node.lost = False
                events.append(Returned(node))
        if report.left and not node.left:
            node.left = True
            events.append(Left(node))
        return events

    def _check(self, report: Report) -> None:
        name = report.source
        if not 0 < len(name) <= NAME_MAX or "/" in name or not name.isprintable():
            raise MessageError(f"a report of a node named {name[:NAME_MAX]!r}")
        latest = clock.steady() + AHEAD_MAX_S
        seconds = [second for second, _ in report.seconds]
        if not all(0 <= second < latest for second in seconds):
            raise MessageError(
                f"a report of node {name} about seconds in the future or before 1970"
            )
        if len({*seconds}) < len(seconds):
            raise MessageError(f"a report of node {name} that repeats a second")
        known = self.nodes.get(name)
        if known is not None and len(known.ahead) > GAPS_MAX:
            known.give_up_gaps()

    def _take_figures(self, node: NodeView, report: Report) -> list[NodeEvent]:
        """Record a report and return its event; count a repeated one and return nothing."""
        self._due[node.name, node.incarnation] = node
        if not node.is_new(report):
            self.counted["repeated reports"] += 1
            return []
        node.note(report)
        if not self._stored:
            node.saved = node.acknowledged
        return [Reported(node, report)]

    def _join(self, report: Report, known: NodeView | None) -> NodeView:
        """Register a process by its first report. A former process of its name is kept apart."""
        node = NodeView(report.source, report.incarnation, report.place, report.workers)
        if known is not None:
            if len(self._former) >= FORMER_KEPT:
                self._former.pop(next(iter(self._former)))
            known.saved = known.newest  # that process no longer keeps reports
            self._former[known.name, known.incarnation] = known
        self.nodes[node.name] = node
        self._refused.pop(node.incarnation, None)
        return node

    def _refuse(self, node: NodeView, report: Report) -> Refused:
        """Refuse a second node with the name of a live one."""
        why = (
            f"a node named {node.name} is here already, from {node.place}: "
            f"give the one at {report.place} another --name"
        )
        if self._refused.get(report.incarnation) != why:
            if len(self._refused) >= REFUSALS_KEPT:
                self._refused.clear()
            self._refused[report.incarnation] = why
            self.counted["refused nodes"] += 1
            log.warning("%s", why)
        return Refused(node.name, Ack(report.incarnation, 0, 0.0, 0.0, 0.0, 0.0, refused=why))

    def unsaved(self, *, every: bool = False) -> list[NodeView]:
        """Return the nodes with received reports that are not stored, or `every` node."""
        return [n for n in self.nodes.values() if every or n.saved != n.acknowledged]

    def saved(self, numbers: dict[str, tuple[str, int]]) -> None:
        """Record the last stored reports: (incarnation, sequence number) by node name."""
        for name, (incarnation, number) in numbers.items():
            node = self.nodes.get(name)
            if node is not None and node.incarnation == incarnation and number > node.saved:
                node.saved = number
                self._due[name, incarnation] = node

    def take_due(self) -> list[NodeView]:
        """Return the nodes that reported, or whose reports were saved, since the last call."""
        due, self._due = self._due, {}
        return [*due.values()]

    def ack(self, node: NodeView, plan: Plan) -> Ack:
        """Return the acknowledgement for a node, with the run and version of `plan`."""
        former = (node.name, node.incarnation) in self._former
        why = f"another process is node {node.name} now" if former else ""
        granted = 0.0 if former or node.left else self.lease * LEASE_SHARE
        return Ack(
            node.incarnation,
            node.saved,
            node.sent,
            node.received,
            clock.steady(),
            granted,
            plan.run,
            plan.version,
            why,
        )

    def check_leases(self) -> list[NodeEvent]:
        """Return the nodes that were silent for the lease: lost ones, and ones that left earlier.

        Nodes that left are forgotten. Time in which this process itself was stalled does not count.
        """
        now = clock.monotonic()
        stalled, self._looked = now - self._looked, now
        if stalled > min(STALL_S, self.lease / 4):
            for node in self.nodes.values():
                node.heard = min(now, node.heard + stalled)
        silent = [node for node in self.nodes.values() if now - node.heard > self.lease]
        gone = [node for node in silent if node.left]
        for node in gone:
            del self.nodes[node.name]
        lost = [node for node in silent if node.present]
        for node in lost:
            node.lost = True  # mark all of them before new nodes are chosen for their users
        return [*map(Forgotten, gone), *map(Lost, lost)]
