"""Answers `runs` and `summary` from the run store when no master runs in the home."""

from typing import Any

from amoc_gevent.control.client import ANSWER_S, Control
from amoc_gevent.control.requests import command_of
from amoc_gevent.core.answers import Answer, RunList
from amoc_gevent.core.run.commands import Summary
from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.master.run_lines import run_list
from amoc_gevent.master.store import Store


class StoredRuns(Control):
    """Answers from the run store of `home`, in place of a master's control socket."""

    start_command = "amoc run SCENARIO FIRST LAST"

    def __init__(self, home: Home) -> None:
        super().__init__(home.runs)

    def answer(self, request: dict[str, Any], timeout: float = ANSWER_S) -> Answer:  # noqa: ARG002  # named by the base class
        """Return the answer to `runs` or `summary`. Raises AmocError."""
        command = command_of(request)
        if not self.path.exists():  # do not create it
            return self._without_runs(command)
        with Store(self.path) as store:
            lines = store.list()
            if not isinstance(command, Summary):
                return run_list(lines)
            if not lines:
                return self._without_runs(command)
            run_id = command.run or lines[0].run
            if all(line.run != run_id for line in lines):
                raise UsageError(f"there is no run {run_id}; `runs` lists them")
            from amoc_gevent.control.reports import answer_to  # noqa: PLC0415  # it loads rich

            return answer_to(command, store.load(run_id))

    def _without_runs(self, command: object) -> Answer:
        if isinstance(command, Summary):
            if command.run:
                raise UsageError(f"there is no run {command.run}; none has been started yet")
            raise AmocError(f"there was no run yet: start one with `{self.start_command}`")
        return RunList(())
