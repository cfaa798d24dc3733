"""Tracks why the run store cannot be written and since when, for the log and for answers."""

import logging
from pathlib import Path

from amoc_gevent import clock
from amoc_gevent.core.run.run import Run
from amoc_gevent.master.database import StoreError, advice

log = logging.getLogger(__name__)


class StoreOutage:
    """Records failures to write the run store at `path`. Each new cause is logged once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._since = 0.0
        self._cause = ""
        self._advice = ""
        self.last = 0.0

    def __bool__(self) -> bool:
        return bool(self._since)

    def note(self, error: Exception) -> None:
        """Record a failed write. `last` becomes its time (monotonic seconds)."""
        self.last = clock.monotonic()
        if not self:
            self._since = clock.wall()
        reason = error.__cause__ if isinstance(error, StoreError) and error.__cause__ else error
        cause = str(getattr(reason, "strerror", None) or reason).partition("\n")[0]
        if cause != self._cause:
            self._cause, self._advice = cause, advice(reason)
            log.error("the run store %s cannot be written: %s; %s", self._path, cause, self._advice)

    def clear(self) -> None:
        """End the outage, as everything is written."""
        if self:
            log.warning("the run store %s can be written again: nothing is missing", self._path)
        self._since, self._cause = 0.0, ""

    def describe(self, run: Run | None, stored: int | None) -> str:
        """Return one line about the outage and `run`, the run in memory; empty without an outage.

        `stored` is the number of its operations in the store, None if the whole run is stored.
        """
        if not self:
            return ""
        since = clock.iso(self._since)[:19].replace("T", " ")
        return (
            f"the run store {self._path} cannot be written since {since} UTC: {self._cause}; "
            f"{_state_of(run, stored)}; {self._advice}"
        )


def _state_of(run: Run | None, stored: int | None) -> str:
    if run is None or (stored is None and not run.active):
        return "no run can start"
    if stored is None:
        return f"run {run.id} goes on"
    how = "goes on in memory" if run.active else "is kept in memory"
    total = run.results.operations
    missing = (
        f"{total - stored} of its {total} operations" if total > stored else "its last changes"
    )
    return f"run {run.id} {how}, {missing} would be lost with this master"
