"""What a node gathers from its workers of one run, until it is whole and goes to the master."""

from amoc_gevent import clock
from amoc_gevent.bus.refusals import Refusals
from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.manifest import Declared, Manifest, reconcile
from amoc_gevent.core.measure.node_seconds import OpenSeconds
from amoc_gevent.core.messages import Event, Report
from amoc_gevent.core.run.plan import Plan


class Gathering:
    """The `seconds` that are still open, and the `events` and `ended` ids since the last report.

    `ended_ids` has all that ended by themselves in the run.
    """

    def __init__(self) -> None:
        self.seconds = OpenSeconds()
        self.events: list[Event] = []
        self.ended: list[tuple[int, int]] = []
        self.ended_ids = IdSet()
        self._refusals = Refusals()
        self._declared: Declared | None = None
        self._declared_taken = False

    def take(self, worker: int, report: Report) -> None:
        """Take in what a worker measured and what became of its users."""
        for second, snapshot in report.seconds:
            self.seconds.add(worker, second, snapshot, report.health)
        for first, last in report.ended:
            self.ended_ids.add(first, last)
        self.ended.extend(report.ended)
        self.events.extend(report.events)

    def follow(self, plan: Plan) -> None:
        """Note which users ended at other nodes before they were moved."""
        for move in plan.moves:
            for first, last in move.ended:
                self.ended_ids.add(first, last)

    def event(self, kind: str, text: str) -> None:
        """Note an event of the node's own."""
        self.events.append(Event(clock.wall(), kind, text))

    def refuse(self, error: Exception) -> None:
        """Note a worker's report that cannot be read; too many are not told."""
        refused = self._refusals.event("a worker", error)
        self.events += [refused] if refused is not None else []

    def compare(self, manifest: Manifest, by: str) -> None:
        """Keep the manifest of the worker `by`. Raises DisagreementError where another differs."""
        self._declared = reconcile(self._declared, Declared(manifest, by))

    def take_manifest(self) -> Manifest | None:
        """Return what the workers declare, the first time; the outbox keeps the report with it."""
        if self._declared is None or self._declared_taken:
            return None
        self._declared_taken = True
        return self._declared.manifest

    def tell_again(self) -> None:
        """Have a report tell once more of all users that ended and of the manifest."""
        self.ended.extend(self.ended_ids)
        self._declared_taken = False

    def reported(self) -> None:
        """Forget the events and ended ids that a report has told."""
        self.events.clear()
        self.ended.clear()
