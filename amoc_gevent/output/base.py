"""The `Output` base class: an output gets the figures and events of runs.

To add an output, write one module with its `Output` and its `OutputKind`, and add the latter to
`output/kinds.py`. The command line and the variables of `hosts.ini` follow from its options.
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
        """The final status: finished or failed."""
        return self.run.status

    @property
    def seconds(self) -> float:
        """Seconds from the first user's start to the end."""
        return self.run.elapsed(self.run.ended_at)

    @property
    def operations(self) -> int:
        """The number of measured operations."""
        return self.run.results.operations


class Output:
    """An output of runs. A subclass overrides the methods that it needs.

    `RunFeed` makes the calls in this order: `started` or `resumed`, then `second` and `event` as
    things happen, then `ended`; `tick` comes between them. No call may block or wait: hand slow
    work to a greenlet. An exception disconnects the output until the next run.
    """

    def started(self, run: Run) -> None:
        """Begin a run. All its events and its open seconds follow."""

    def resumed(self, run: Run) -> None:
        """Continue a run of an earlier master. Only new seconds and events follow."""
        self.started(run)

    def second(self, row: Measured) -> None:
        """Take some nodes' measurements of one second; a second can come in several parts.

        Do not keep `row.snapshot`: others are merged into it after this call.
        """

    def event(self, event: Event) -> None:
        """Take an event of the run. Late events come after `ended`."""

    def ended(self, summary: RunOutcome) -> None:
        """Take the end of the run."""

    def tick(self, now: float) -> None:
        """Do periodic work, 0.25 s after each second; `now` is of the master's steady clock.

        Ticks come without a run as well.
        """

    def close(self) -> None:
        """Deliver the rest, within seconds."""
