"""The list of runs: one line for each run, as stored and as returned to clients."""

from collections.abc import Iterable
from dataclasses import dataclass

from amoc_gevent import clock
from amoc_gevent.core.answers import RunLine, RunList
from amoc_gevent.core.run.run import Run

COUNT_MAX = 2**63 - 1
"""The largest integer that SQLite stores."""


@dataclass(frozen=True, slots=True)
class Line:
    """One run in the list of runs; times in seconds since 1970, 0 if not reached yet."""

    run: str
    scenario: str
    status: str
    began: float
    ended: float
    users: int
    operations: int
    comment: str


def run_list(lines: Iterable[Line]) -> RunList:
    """Return the answer to `runs`."""
    return RunList(
        tuple(
            RunLine(
                run=line.run,
                scenario=line.scenario,
                status=line.status,
                started=clock.iso(line.began) if line.began else None,
                ended=clock.iso(line.ended) if line.ended else None,
                users=line.users,
                operations=line.operations,
                comment=line.comment,
            )
            for line in lines
        )
    )


def line_of(run: Run) -> Line:
    """Return the line for `run`."""
    return Line(
        run.id,
        run.scenario,
        run.status,
        run.started_at,
        run.ended_at,
        run.assigned,
        min(COUNT_MAX, run.results.operations),
        run.comment,
    )
