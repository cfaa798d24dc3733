"""The nodes of a master: who has joined, who is heard, and what was received of whom."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import gevent

from amoc_gevent import clock
from amoc_gevent.core.messages import (
    Ack,
    MessageError,
    Report,
    decode_report,
    encode,
)
from amoc_gevent.core.nodes import NodeView
from amoc_gevent.engine.bus import Publisher, Puller
from amoc_gevent.engine.topics import ack_topic

log = logging.getLogger(__name__)

ACK_S = 0.05
LEASE_SHARE = 0.8
"""How much of the lease a node is granted; the rest is for ending its users."""

DEAF_S = 1.0
NAME_MAX = 100
AHEAD_MAX_S = 60.0
"""By how much a node's idea of the master's time may be ahead before both know better."""

GAPS_MAX = 10_000
"""Reports after one that is missing: more than a node keeps, so what is missing never comes."""

REFUSALS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Ears:
    """Who is told what happens.

    A node `joined`, with its last life, if any; it was `lost`, is `back`, or `left` for good. A new
    `report` came, or one was `refused`, as it could not be read.
    """

    joined: Callable[[NodeView, NodeView | None], None]
    report: Callable[[NodeView, Report], None]
    lost: Callable[[NodeView], None]
    back: Callable[[NodeView], None]
    left: Callable[[NodeView], None]
    refused: Callable[[MessageError], None]


class Fleet:
    """Takes in reports, and acknowledges them; it keeps `nodes`, by name.

    `lease` (s) is how long a silent node is waited for. `stored`: reports are acknowledged only
    when `saved` said that they are safe.
    """

    def __init__(
        self,
        publisher: Publisher,
        puller: Puller,
        nodes: dict[str, NodeView],
        lease: float,
        ears: Ears,
        *,
        stored: bool,
    ) -> None:
        self._publisher = publisher
        self._puller = puller
        self.nodes = nodes
        self.lease = lease
        self._ears = ears
        self._stored = stored
        self._parting: dict[str, NodeView] = {}
        self._due: dict[str, NodeView] = {}
        self._refused: dict[str, str] = {}
        self.counted = {"refused reports": 0, "repeated reports": 0, "refused nodes": 0}
        self._looked = clock.monotonic()
        self._loops = [gevent.spawn(self._collect), gevent.spawn(self._acknowledge)]

    def close(self) -> None:
        """Hear no more."""
        gevent.killall(self._loops)

    def _collect(self) -> None:
        while True:
            try:
                report = decode_report(self._puller.pull())
                self._check(report)
            except MessageError as error:
                self.counted["refused reports"] += 1
                self._ears.refused(error)
                continue
            self._take(report)

    def _check(self, report: Report) -> None:
        name = report.source
        if not 0 < len(name) <= NAME_MAX or "/" in name or not name.isprintable():
            raise MessageError(f"a report of a node named {name[:NAME_MAX]!r}")
        latest = clock.steady() + AHEAD_MAX_S
        if not all(0 <= second < latest for second, _ in report.seconds):
            raise MessageError(f"a report of node {name} about seconds that have not come")
        known = self.nodes.get(name)
        if known is not None and len(known.ahead) > GAPS_MAX:
            known.give_up_gaps()

    def _take(self, report: Report) -> None:
        node = self.nodes.get(report.source)
        now = clock.monotonic()
        if node is None or node.incarnation != report.incarnation:
            if node is not None and not node.lost and node.place != report.place:
                self._refuse(node, report)
                return
            known, node = node, NodeView(report.source, report.incarnation, report.place)
            node.heard = now
            node.note(report)
            self._join(node, known)
        if not node.is_new(report):
            self.counted["repeated reports"] += 1
            return
        node.note(report)
        if node.newest == report.sequence:
            self._hear(node, now)
        if not self._stored:
            node.saved = node.acknowledged
        self._due[node.name] = node
        self._ears.report(node, report)
        if report.left:
            self._part(node)

    def _join(self, node: NodeView, known: NodeView | None) -> None:
        self.nodes[node.name] = node
        self._refused.pop(node.name, None)
        self._ears.joined(node, known)

    def _hear(self, node: NodeView, now: float) -> None:
        node.heard, node.received = now, clock.steady()
        if node.lost:
            node.lost = False
            self._ears.back(node)

    def _part(self, node: NodeView) -> None:
        """Let a node go that has ended its users; it is told so before it is forgotten."""
        self._parting[node.name] = self.nodes.pop(node.name)
        self._ears.left(node)

    def _refuse(self, node: NodeView, report: Report) -> None:
        """Tell a node that its name is taken, as long as the one that has it is heard."""
        why = (
            f"a node named {node.name} is here already, from {node.place}: "
            f"give the one at {report.place} another --name"
        )
        if self._refused.get(report.incarnation) != why:
            if len(self._refused) < REFUSALS_KEPT:
                self._refused[report.incarnation] = why
            self.counted["refused nodes"] += 1
            log.warning("%s", why)
        self._tell(node.name, Ack(report.incarnation, 0, 0.0, 0.0, 0.0, 0.0, why))

    def _tell(self, name: str, ack: Ack) -> None:
        self._publisher.tell(ack_topic(name), encode(ack))

    def saved(self, numbers: dict[str, tuple[str, int]]) -> None:
        """Note that the reports of these nodes (incarnation, number) are safe."""
        for name, (incarnation, number) in numbers.items():
            node = self.nodes.get(name) or self._parting.pop(name, None)
            if node is not None and node.incarnation == incarnation and number > node.saved:
                node.saved = number
                self._due[name] = node

    def _acknowledge(self) -> None:
        while True:
            gevent.sleep(ACK_S)
            due, self._due = self._due, {}
            for node in due.values():
                granted = self.lease * LEASE_SHARE
                now = clock.steady()
                self._tell(
                    node.name,
                    Ack(node.incarnation, node.saved, node.sent, node.received, now, granted),
                )

    def look(self) -> None:
        """Find out who was not heard for the lease.

        For as long as this process itself stood still it could hear nobody.
        """
        now = clock.monotonic()
        deaf, self._looked = now - self._looked, now
        if deaf > min(DEAF_S, self.lease / 4):
            for node in self.nodes.values():
                node.heard += deaf
        for node in list(self.nodes.values()):
            if not node.lost and now - node.heard > self.lease:
                node.lost = True
                self._ears.lost(node)
