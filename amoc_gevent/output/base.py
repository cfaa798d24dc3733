"""The `Output` protocol: what a reader of runs is told.

To add an output, write one module with its `Output` and its `OutputKind`, and name the latter in
`output/registry.py`.
"""

from dataclasses import dataclass

from amoc_gevent.core.messages import Event
from amoc_gevent.core.records import Measured
from amoc_gevent.core.run.run import Run


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The end of a run: its status, its length in seconds and its number of operations."""

    run: Run

    @property
    def status(self) -> str:
        """How it ended: finished or failed."""
        return self.run.status

    @property
    def seconds(self) -> float:
        """Seconds from the first user's start to the end."""
        return self.run.elapsed(self.run.ended_at)

    @property
    def operations(self) -> int:
        """How many operations were measured."""
        return self.run.results.operations


class Output:
    """A reader of runs. A subclass overrides the calls that it needs.

    `RunFeed` makes the calls in this order: `started` or `resumed`, then `second` and `event` as
    things happen, then `ended`; `tick` comes between them. No call may block or wait: hand slow
    work to a greenlet. An exception disconnects the output until the next run.
    """

    def started(self, run: Run) -> None:
        """Take up a run. All its events and its open seconds follow."""

    def resumed(self, run: Run) -> None:
        """Take up a run that an earlier master began. Only what is new follows."""
        self.started(run)

    def second(self, row: Measured) -> None:
        """Take in what some nodes measured in one second; a second can come in several parts.

        Do not keep `row.snapshot`: others are merged into it after this call.
        """

    def event(self, event: Event) -> None:
        """Take in an event of the run. Late events come after `ended`."""

    def ended(self, summary: RunOutcome) -> None:
        """Take in the end of the run."""

    def tick(self, now: float) -> None:
        """Show how things stand, 0.25 s after each second; `now` is the master's steady clock.

        Ticks come without a run as well.
        """

    def close(self) -> None:
        """Deliver what is left, within seconds."""
