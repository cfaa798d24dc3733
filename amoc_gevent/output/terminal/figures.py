"""Figures that more than one output derives from a run."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from amoc_gevent.core.measure.histogram import Histogram
from amoc_gevent.core.measure.rows import Row
from amoc_gevent.core.measure.snapshot import Operation, UserError
from amoc_gevent.core.messages import Event
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.units import format_duration

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
"""The percentiles of the summary, by name."""

ROUTINE_EVENTS = {"start", "stop"}
"""Kinds of events that every run has. Only the summary lists them."""


@dataclass(frozen=True, slots=True)
class Overload:
    """The number of a run's seconds with each mark; `total` counts those with `lag` or `cpu`."""

    seconds: int
    total: int
    lag: int
    cpu: int
    clock: int


def rows_of(run: Run) -> Sequence[Row]:
    """Return the rows since the first user's start time; workers report even before it."""
    first = int(run.started_at)
    return [row for row in run.results.rows if row.second >= first] if first else []


def seconds_of(run: Run) -> float:
    """Return the seconds from the start to the end of the run, or to the last report."""
    return run.elapsed(max(run.started_at, run.results.newest + 1))


def load_time_of(run: Run) -> float:
    """Return the seconds in which the run made load. Rates are over this time."""
    return run.load_time(max(run.started_at, run.results.newest + 1))


def resting_note(run: Run, now: float) -> str:
    """Return a sentence if all users rest for another second or more, else ""."""
    users, interval = run.users, run.plan.options.repeat_interval
    if run.status != "running" or not users.resting or users.running or users.waiting:
        return ""
    second = run.results.second_of_last(users.resting)
    left = 0 if second is None else int(second + interval - now)
    if left < 1:
        return ""
    return (
        f"all users rest: the next one starts in {format_duration(float(left))} "
        f"(--repeat-interval {format_duration(interval)})"
    )


def overload_of(run: Run) -> Overload:
    """Count the seconds in which the generator was overloaded."""
    rows = rows_of(run)
    marks = Counter(mark for row in rows for mark in row.marks)
    total = sum(1 for row in rows if "lag" in row.marks or "cpu" in row.marks)
    return Overload(len(rows), total, marks["lag"], marks["cpu"], marks["clock"])


def errors_by_kind(run: Run) -> list[tuple[str, str, int]]:
    """Return (operation, kind, count) of all error groups, most frequent first."""
    found = [
        (name, kind, count)
        for name, operation in run.results.total.operations.items()
        for kind, count in operation.error_groups.items()
    ]
    return sorted(found, key=lambda group: (-group[2], group[:2]))


def user_errors(run: Run) -> list[UserError]:
    """Return the groups of users' exceptions, most frequent first."""
    groups = run.results.total.errors.values()
    return sorted(groups, key=lambda error: (-error.count, error.type, error.place))


def events_of(run: Run) -> list[Event]:
    """Return the events except `ROUTINE_EVENTS`, ordered by time."""
    found = (event for event in run.events if event.kind not in ROUTINE_EVENTS)
    return sorted(found, key=lambda event: event.time)


def merged_latency(operations: Iterable[Operation]) -> Histogram:
    """Return the latencies (µs) of all `operations` in one histogram."""
    merged = Histogram()
    for operation in operations:
        merged.merge(operation.latency)
    return merged
