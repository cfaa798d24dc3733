"""Writes the events of runs to the master's log, one line each."""

import logging

from amoc_gevent.core.messages import Event
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.base import Output, RunOutcome

log = logging.getLogger(__name__)

LOGGED_ELSEWHERE = "node-"
"""Prefix of events that the master logs itself, as nodes also come and go without a run."""


class RunLog(Output):
    """Logs the events and the end of each run."""

    def __init__(self) -> None:
        self._run = ""

    def started(self, run: Run) -> None:
        """Begin a run."""
        self._run = run.id

    def event(self, event: Event) -> None:
        """Log the first line of an event. A setting's value is left out: it may be a password."""
        if event.kind.startswith(LOGGED_ELSEWHERE):
            return
        text = event.text.partition("\n")[0]
        if event.kind == "set":
            text = text.partition(" = ")[0]
        log.info("run %s: %s: %s", self._run, event.kind, text)

    def ended(self, summary: RunOutcome) -> None:
        """Log the end of the run."""
        log.info(
            "run %s %s after %.1f s, %d operations",
            self._run,
            summary.status,
            summary.seconds,
            summary.operations,
        )
