"""Writes what happens to a master's runs into its log, a line for each event."""

import logging

import gevent

from amoc_gevent.core.messages import Event
from amoc_gevent.core.run.run import Run
from amoc_gevent.master.master import Master

log = logging.getLogger(__name__)

LOOK_S = 0.2
LOGGED_ELSEWHERE = "node-"
"""Nodes come and go without a run too, so the engine logs it."""


class Diary:
    """Follows the runs of `master` until it is closed; what is there already is not told again."""

    def __init__(self, master: Master) -> None:
        self._master = master
        self._run = master.run
        self._told = len(self._run.events) if self._run is not None else 0
        self._active = self._run is not None and self._run.active
        self._following = gevent.spawn(self._follow)

    def close(self) -> None:
        """Write what there is to be told, and follow no more."""
        self._following.kill()
        self._look()

    def _follow(self) -> None:
        while True:
            self._look()
            gevent.sleep(LOOK_S)

    def _look(self) -> None:
        run = self._master.run
        if run is None:
            return
        if run is not self._run:
            self._run, self._told, self._active = run, 0, True
        new = run.events[self._told :]
        self._told += len(new)
        for event in new:
            self._tell(run, event)
        if self._active and not run.active:
            self._active = False
            count = sum(one.count for one in run.results.total.operations.values())
            took = run.elapsed(run.ended_at)
            log.info("run %s %s after %.1f s, %d operations", run.id, run.status, took, count)

    def _tell(self, run: Run, event: Event) -> None:
        if event.kind.startswith(LOGGED_ELSEWHERE):
            return
        text = event.text.partition("\n")[0]
        if event.kind == "set":  # its value may be a password
            text = text.partition(" = ")[0]
        log.info("run %s: %s: %s", run.id, event.kind, text)
