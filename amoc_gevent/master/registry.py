"""The nodes of a master: which have joined, which are heard, and what was received of each.

The registry decides and has no sockets: it takes decoded reports, answers with news as data, and
hands out the acknowledgements that are due.
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
"""How much of the lease a node is granted; the rest is for ending its users."""

DEAF_S = 1.0
NAME_MAX = 100
AHEAD_MAX_S = 60.0
"""By how much a node's idea of the master's time may be ahead before both know better."""

GAPS_MAX = 10_000
"""Reports after one that is missing: more than a node keeps, so what is missing never comes."""

REFUSALS_KEPT = 1000
FORMER_KEPT = 1000
"""Processes whose nodes were started again, of which reports may still come."""


class NodeRegistry:
    """The `nodes` by name, beginning with those that the last master `known`.

    `lease` (s) is how long the master waits for a silent node. With `stored`, reports are
    acknowledged only when `saved` said that they are safe.
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

    def take(self, report: Report) -> list[NodeEvent]:
        """Take in a report and return the news in it. Raises MessageError for one that is bad."""
        self._check(report)
        name = report.source
        node = self.nodes.get(name)
        former = self._former.get((name, report.incarnation))
        if former is not None:  # its figures count, but another process has its name and users now
            return self._take_figures(former, report)
        now = clock.monotonic()
        news: list[NodeEvent] = []
        if node is None or node.incarnation != report.incarnation:
            if node is not None and node.present and node.place != report.place:
                return [self._refuse(node, report)]
            known, node = node, self._join(report, node)
            node.heard = now
            news.append(Joined(node, known))
        figures = self._take_figures(node, report)
        if not figures:
            return news
        news += figures
        if node.newest == report.sequence:
            node.heard, node.received = now, clock.steady()
            if node.lost:
                node.lost = False
                news.append(Returned(node))
        if report.left and not node.left:
            node.left = True
            news.append(Left(node))
        return news

    def _check(self, report: Report) -> None:
        name = report.source
        if not 0 < len(name) <= NAME_MAX or "/" in name or not name.isprintable():
            raise MessageError(f"a report of a node named {name[:NAME_MAX]!r}")
        latest = clock.steady() + AHEAD_MAX_S
        seconds = [second for second, _ in report.seconds]
        if not all(0 <= second < latest for second in seconds):
            raise MessageError(f"a report of node {name} about seconds that have not come")
        if len({*seconds}) < len(seconds):
            raise MessageError(f"a report of node {name} that has a second twice")
        known = self.nodes.get(name)
        if known is not None and len(known.ahead) > GAPS_MAX:
            known.give_up_gaps()

    def _take_figures(self, node: NodeView, report: Report) -> list[NodeEvent]:
        """Note a report once; return the news of it, nothing where it came before."""
        self._due[node.name, node.incarnation] = node
        if not node.is_new(report):
            self.counted["repeated reports"] += 1
            return []
        node.note(report)
        if not self._stored:
            node.saved = node.acknowledged
        return [Reported(node, report)]

    def _join(self, report: Report, known: NodeView | None) -> NodeView:
        """Register a process by its first report; the one that had its name before is a former."""
        node = NodeView(report.source, report.incarnation, report.place, report.workers)
        if known is not None:
            if len(self._former) >= FORMER_KEPT:
                self._former.pop(next(iter(self._former)))
            known.saved = known.newest  # it has no use for its reports any more
            self._former[known.name, known.incarnation] = known
        self.nodes[node.name] = node
        self._refused.pop(node.incarnation, None)
        return node

    def _refuse(self, node: NodeView, report: Report) -> Refused:
        """Refuse a second node of a name for as long as the first one is heard."""
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
        """Return the nodes of which reports were received that are not stored, or `every` one."""
        return [n for n in self.nodes.values() if every or n.saved != n.acknowledged]

    def saved(self, numbers: dict[str, tuple[str, int]]) -> None:
        """Note that the reports of these nodes (incarnation, number) are safe."""
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
        """Return the acknowledgement for a node, while `plan` is the plan."""
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

    def look(self) -> list[NodeEvent]:
        """Return the nodes that were not heard for the lease; forget those that left before it.

        While this process itself stood still it could hear nobody.
        """
        now = clock.monotonic()
        deaf, self._looked = now - self._looked, now
        if deaf > min(DEAF_S, self.lease / 4):
            for node in self.nodes.values():
                node.heard = min(now, node.heard + deaf)
        silent = [node for node in self.nodes.values() if now - node.heard > self.lease]
        gone = [node for node in silent if node.left]
        for node in gone:
            del self.nodes[node.name]
        lost = [node for node in silent if node.present]
        for node in lost:
            node.lost = True  # all of them, before anybody looks for destinations of their users
        return [*map(Forgotten, gone), *map(Lost, lost)]
