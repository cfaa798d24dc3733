"""Buffers what a node's workers report during one run until the node reports it to the master."""

from dataclasses import replace

from amoc_gevent import clock
from amoc_gevent.bus.refusals import Refusals
from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.manifest import Declared, Manifest, reconcile
from amoc_gevent.core.measure.node_seconds import OpenSeconds
from amoc_gevent.core.messages import Event, Report
from amoc_gevent.core.run.plan import Plan


class ReportBuffer:
    """Holds the open `seconds`, and the `events` and `ended` id intervals since the last report.

    `ended_ids` holds every id that has ended by itself in the run.
    """

    def __init__(self) -> None:
        self.seconds = OpenSeconds()
        self.events: list[Event] = []
        self.ended: list[tuple[int, int]] = []
        self.ended_ids = IdSet()
        self._refusals = Refusals()
        self._declared: Declared | None = None
        self._manifest_sent = False

    def add(self, worker: int, report: Report) -> None:
        """Add what a worker measured, its events, and the ids that ended."""
        for second, snapshot in report.seconds:
            self.seconds.add(worker, second, snapshot, report.health)
        for first, last in report.ended:
            self.ended_ids.add(first, last)
        self.ended.extend(report.ended)
        self.events.extend(report.events)

    def add_moved(self, plan: Plan) -> None:
        """Add the ids that ended on other nodes before their users were moved."""
        for move in plan.moves:
            for first, last in move.ended:
                self.ended_ids.add(first, last)

    def add_event(self, kind: str, text: str) -> None:
        """Add an event of the node itself."""
        self.events.append(Event(clock.wall(), kind, text))

    def add_refusal(self, error: Exception) -> None:
        """Add an event for an unreadable worker report; the number of such events is limited."""
        refused = self._refusals.event("a worker", error)
        self.events += [refused] if refused is not None else []

    def compare(self, manifest: Manifest, by: str) -> None:
        """Keep the manifest of the worker `by`. Raises DisagreementError if another one differs."""
        self._declared = reconcile(self._declared, Declared(manifest, by))

    def repeat(self) -> None:
        """Put all ended ids and the manifest into the next report again."""
        self.ended.extend(self.ended_ids)
        self._manifest_sent = False

    def complete(self, report: Report, through: float) -> Report:
        """Return `report` with all data that is complete up to second `through`; forget the data.

        The first report in state ready carries the manifest. The outbox keeps that report.
        """
        seconds = self.seconds.take(through)
        completed = replace(
            report,
            seconds=tuple((found.second, found.snapshot) for found in seconds),
            health=tuple(one for found in seconds for one in found.health),
            events=tuple(self.events),
            ended=tuple(self.ended),
            manifest=self._take_manifest() if report.state == "ready" else None,
        )
        self.events.clear()
        self.ended.clear()
        return completed

    def _take_manifest(self) -> Manifest | None:
        """Return the workers' manifest on the first call, then None until `repeat` is called."""
        if self._declared is None or self._manifest_sent:
            return None
        self._manifest_sent = True
        return self._declared.manifest
