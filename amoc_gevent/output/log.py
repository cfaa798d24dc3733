"""A master's log: a line for each event of its runs."""

import logging

from amoc_gevent.core.messages import Event
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.base import Output, RunOutcome

log = logging.getLogger(__name__)

LOGGED_ELSEWHERE = "node-"
"""Nodes come and go without a run too, so the master logs these itself."""


class RunLog(Output):
    """Logs the events and the end of each run."""

    def __init__(self) -> None:
        self._run = ""

    def started(self, run: Run) -> None:
        """Log the events of this run."""
        self._run = run.id

    def event(self, event: Event) -> None:
        """Log the first line of an event, without the value of a setting: it may be a password."""
        if event.kind.startswith(LOGGED_ELSEWHERE):
            return
        text = event.text.partition("\n")[0]
        if event.kind == "set":
            text = text.partition(" = ")[0]
        log.info("run %s: %s: %s", self._run, event.kind, text)

    def ended(self, summary: RunOutcome) -> None:
        """Log how the run ended."""
        log.info(
            "run %s %s after %.1f s, %d operations",
            self._run,
            summary.status,
            summary.seconds,
            summary.operations,
        )
