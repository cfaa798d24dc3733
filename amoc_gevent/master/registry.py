"""The nodes of a master: who has joined, who is heard, and what was received of whom."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import gevent

from amoc_gevent import clock
from amoc_gevent.bus.sockets import Publisher, Puller
from amoc_gevent.bus.topics import ack_topic
from amoc_gevent.core.messages import (
    Ack,
    MessageError,
    Report,
    decode_report,
    encode,
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


@dataclass(frozen=True, slots=True)
class Ears:
    """Who is told what happens.

    A node `joined`, with its last life, if any; it was `lost`, is `back`, or `left`, and is `gone`
    some time after that. A new `report` came, or one was `refused`, as it could not be read.
    """

    joined: Callable[[NodeView, NodeView | None], None]
    report: Callable[[NodeView, Report], None]
    lost: Callable[[NodeView], None]
    back: Callable[[NodeView], None]
    left: Callable[[NodeView], None]
    gone: Callable[[NodeView], None]
    refused: Callable[[MessageError], None]


class NodeRegistry:
    """Takes in reports, and acknowledges them; it keeps `nodes`, by name.

    `plan` returns the one of now. `lease` (s) is how long a silent node is waited for. `stored`:
    reports are acknowledged only when `saved` said that they are safe.
    """

    def __init__(
        self,
        publisher: Publisher,
        puller: Puller,
        nodes: dict[str, NodeView],
        lease: float,
        plan: Callable[[], Plan],
        ears: Ears,
        *,
        stored: bool,
    ) -> None:
        self._publisher = publisher
        self._puller = puller
        self.nodes = nodes
        self.lease = lease
        self._plan = plan
        self._ears = ears
        self._stored = stored
        self._former: dict[tuple[str, str], NodeView] = {}
        self._due: dict[tuple[str, str], NodeView] = {}
        self._refused: dict[str, str] = {}
        self.counted = {"refused reports": 0, "repeated reports": 0, "refused nodes": 0}
        self._looked = clock.monotonic()
        self._collecting = gevent.spawn(self._collect)

    def close(self) -> None:
        """Hear no more."""
        self._collecting.kill()

    def _collect(self) -> None:
        while True:
            try:
                report = decode_report(self._puller.pull())
                self._check(report)
            except MessageError as error:
                self._refuse_report(error)
                continue
            try:
                self._take(report)
            except Exception as error:  # the boundary around what a report brings about
                log.exception("a report of node %s", report.source)
                self._refuse_report(MessageError(f"a report of node {report.source}: {error!r}"))

    def _refuse_report(self, error: MessageError) -> None:
        self.counted["refused reports"] += 1
        self._ears.refused(error)

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

    def _take(self, report: Report) -> None:
        node = self.nodes.get(report.source)
        former = self._former.get((report.source, report.incarnation))
        if former is not None:  # what it measured counts, but others have its name and users now
            self._take_figures(former, report)
            return
        now = clock.monotonic()
        if node is None or node.incarnation != report.incarnation:
            if node is not None and node.present and node.place != report.place:
                self._refuse(node, report)
                return
            node = self._join(report, node)
            node.heard = now
        if not self._take_figures(node, report):
            return
        if node.newest == report.sequence:
            self._hear(node, now)
        if report.left and not node.left:
            node.left = True
            self._ears.left(node)

    def _take_figures(self, node: NodeView, report: Report) -> bool:
        """Take what a report measured, once; return whether it was new."""
        self._due[node.name, node.incarnation] = node
        if not node.is_new(report):
            self.counted["repeated reports"] += 1
            return False
        node.note(report)
        if not self._stored:
            node.saved = node.acknowledged
        self._ears.report(node, report)
        return True

    def _join(self, report: Report, known: NodeView | None) -> NodeView:
        """Know a process by its first report; one that had its name before has it no more."""
        node = NodeView(report.source, report.incarnation, report.place, report.workers)
        if known is not None:
            if len(self._former) >= FORMER_KEPT:
                self._former.pop(next(iter(self._former)))
            known.saved = known.newest  # it has no use for its reports any more
            self._former[known.name, known.incarnation] = known
        self.nodes[node.name] = node
        self._refused.pop(node.incarnation, None)
        self._ears.joined(node, known)
        return node

    def _hear(self, node: NodeView, now: float) -> None:
        node.heard, node.received = now, clock.steady()
        if node.lost:
            node.lost = False
            self._ears.back(node)

    def _refuse(self, node: NodeView, report: Report) -> None:
        """Tell a node that its name is taken, as long as the one that has it is heard."""
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
        self._tell(node.name, Ack(report.incarnation, 0, 0.0, 0.0, 0.0, 0.0, refused=why))

    def _tell(self, name: str, ack: Ack) -> None:
        self._publisher.tell(ack_topic(name), encode(ack))

    def saved(self, numbers: dict[str, tuple[str, int]]) -> None:
        """Note that the reports of these nodes (incarnation, number) are safe."""
        for name, (incarnation, number) in numbers.items():
            node = self.nodes.get(name)
            if node is not None and node.incarnation == incarnation and number > node.saved:
                node.saved = number
                self._due[name, incarnation] = node

    def acknowledge(self) -> None:
        """Answer the nodes that have reported, or whose reports are safe, since last time."""
        due, self._due = self._due, {}
        for node in due.values():
            try:
                self._tell(node.name, self._ack(node))
            except Exception:  # the boundary around one node's acknowledgement
                log.exception("node %s is not answered", node.name)

    def _ack(self, node: NodeView) -> Ack:
        former = (node.name, node.incarnation) in self._former
        why = f"another process is node {node.name} now" if former else ""
        granted = 0.0 if former or node.left else self.lease * LEASE_SHARE
        plan, now = self._plan(), clock.steady()
        return Ack(
            node.incarnation,
            node.saved,
            node.sent,
            node.received,
            now,
            granted,
            plan.run,
            plan.version,
            why,
        )

    def look(self) -> None:
        """Find out who was not heard for the lease, and forget who has left that long ago.

        For as long as this process itself stood still it could hear nobody.
        """
        now = clock.monotonic()
        deaf, self._looked = now - self._looked, now
        if deaf > min(DEAF_S, self.lease / 4):
            for node in self.nodes.values():
                node.heard = min(now, node.heard + deaf)
        silent = [node for node in self.nodes.values() if now - node.heard > self.lease]
        for node in silent:
            if node.left:
                del self.nodes[node.name]
                self._ears.gone(node)
        lost = [node for node in silent if node.present]
        for node in lost:
            node.lost = True  # all of them, before anybody looks for who may have their users
        for node in lost:
            self._ears.lost(node)
