"""Makes and writes the summary of a run; docs/metrics.md describes its fields."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from amoc_gevent.clock import iso
from amoc_gevent.core.answers import UsersByState
from amoc_gevent.core.json_codec import as_json
from amoc_gevent.core.measure.deliveries import balances, total_balance
from amoc_gevent.core.measure.histogram import Histogram
from amoc_gevent.core.measure.rows import Row
from amoc_gevent.core.measure.snapshot import Operation, UserError
from amoc_gevent.core.messages import Clock, Event
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.run_summary import (
    ClockFigures,
    CountedDistribution,
    Distribution,
    ErrorSummary,
    EventLine,
    GaugeFigures,
    HealthFigures,
    HistogramFigures,
    MessageFigures,
    OperationSecond,
    OperationSummary,
    OverloadedSeconds,
    RunFigures,
    RunSummary,
    SecondRow,
    UnevenPair,
    UserFigures,
    WorkerHealth,
    Worst,
)
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.output.terminal.figures import (
    PERCENTILES,
    load_time_of,
    overload_of,
    rows_of,
    seconds_of,
    user_errors,
)
from amoc_gevent.output.verdict import verdict

SCHEMA = 1
"""Incremented when a field changes its meaning or is removed, not for new fields."""

UNEVEN_MAX = 10_000
"""Limit of listed uneven pairs."""

UNWRITABLE = "backslashreplace"
"""Writes a lone surrogate, which UTF-8 cannot encode, as an escape, as JSON does."""


def summary_of(run: Run) -> RunSummary:
    """Return the summary of the run."""
    total, load_time = run.results.total, load_time_of(run)
    return RunSummary(
        schema=SCHEMA,
        run=_run(run, seconds_of(run), load_time),
        users=UserFigures(total.started, run.results.peak, total.failed, total.iterations),
        operations={
            name: _operation(operation, load_time)
            for name, operation in sorted(total.operations.items())
        },
        counters=dict(sorted(total.counters.items())),
        gauges={
            name: GaugeFigures(one.last, one.min, one.max, one.unit)
            for name, one in sorted(run.results.gauges.items())
        },
        histograms={
            name: HistogramFigures(
                unit=unit, count=histogram.count, **asdict(distribution(histogram))
            )
            for name, (unit, histogram) in sorted(total.histograms.items())
        },
        messages=messages(run),
        errors=tuple(_error(error) for error in user_errors(run)),
        events=tuple(EventLine(iso(e.time), e.kind, e.text) for e in _in_order(run)),
        clocks={name: _clock(one) for name, one in sorted(run.clocks.items())},
        health=_health(run),
        rows=tuple(_row(row, run) for row in rows_of(run)),
    )


def summary(run: Run) -> dict[str, Any]:
    """Return the summary of the run as a JSON object."""
    return as_json(summary_of(run))


def _in_order(run: Run) -> list[Event]:
    return sorted(run.events, key=lambda event: event.time)


def distribution(histogram: Histogram) -> Distribution:
    """Return min, mean, percentiles and max of a histogram, in its own unit."""
    values = (round(v, 1) for v in histogram.percentiles(PERCENTILES.values()))
    return Distribution(
        min=round(histogram.min, 1),
        mean=round(histogram.mean, 1),
        **dict(zip(PERCENTILES, values, strict=True)),
        max=round(histogram.max, 1),
    )


def _counted(histogram: Histogram) -> CountedDistribution:
    return CountedDistribution(count=histogram.count, **asdict(distribution(histogram)))


def messages(run: Run) -> MessageFigures | None:
    """Return the balance of tracked messages, in total and by pair; None if there were none.

    Only pairs with a lost, duplicated or reordered message are listed.
    """
    found, strays = balances(run.results.total.flows)
    if not found and not strays:
        return None
    uneven = [
        UnevenPair(sender, to, **asdict(one))
        for (sender, to), one in sorted(found.items())
        if not one.even
    ]
    return MessageFigures(
        **asdict(total_balance(found.values())),
        strays=strays,
        pairs=len(found),
        pairs_uneven=len(uneven),
        uneven=tuple(uneven[:UNEVEN_MAX]),
    )


def check_writable(path: Path) -> None:
    """Raise UsageError if `write` could not write `path`; called before the run."""
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise UsageError(f"{path} is a directory: name a file for the summary")
        if not target.parent.is_dir():
            raise UsageError(f"{path} cannot be written: there is no directory {target.parent}")
        place = target if _is_special(target) else target.parent
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    if not os.access(place, os.W_OK):
        raise UsageError(f"{path} cannot be written: no permission to write to {place}")


def write(run: Run, path: Path) -> None:
    """Write the summary to `path`, atomically. Raises AmocError.

    A special file such as /dev/stdout is written to and not replaced.
    """
    text = text_of(summary_of(run))
    try:
        target = Path(os.path.realpath(path))
        if _is_special(target):
            target.write_text(text, encoding="utf-8", errors=UNWRITABLE)
        else:
            _replace(target, text)
    except OSError as error:
        raise AmocError(f"the summary cannot be written to {path}: {error.strerror}") from error


def text_of(found: RunSummary) -> str:
    """Return a summary as indented JSON, with one line for each row."""
    rows = ",\n  ".join(json.dumps(as_json(row), ensure_ascii=False) for row in found.rows)
    rest = as_json(replace(found, rows=()))
    del rest["rows"]
    head = json.dumps(rest, indent=1, ensure_ascii=False).removesuffix("\n}")
    return f'{head},\n "rows": [\n  {rows}\n ]\n}}\n'


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _replace(path: Path, text: str) -> None:
    """Write a temporary file beside `path`, and rename it."""
    with NamedTemporaryFile(
        "w",
        dir=path.parent,
        prefix=f".{path.name}.",
        encoding="utf-8",
        errors=UNWRITABLE,
        delete=False,
    ) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.flush()
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def _umask() -> int:
    """Return the process's umask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _run(run: Run, duration: float, load_time: float) -> RunFigures:
    return RunFigures(
        id=run.id,
        scenario=run.scenario,
        file=run.plan.scenario,
        first=run.first,
        last=run.last,
        assigned=run.assigned,
        removed=run.removed,
        status=run.status,
        failure=run.failure.message if run.failure is not None else None,
        comment=run.comment,
        started_at=iso(run.started_at) if run.started_at else None,
        ended_at=iso(run.ended_at) if run.ended_at else None,
        duration_s=round(duration, 3),
        load_s=round(load_time, 3),
        asked_duration_s=run.duration,
        workers=run.workers,
        settings=dict(run.plan.settings),
        options=run.plan.options,
    )


def _operation(operation: Operation, load_time: float) -> OperationSummary:
    return OperationSummary(
        count=operation.count,
        errors=operation.errors,
        interrupted=operation.interrupted,
        rate=round(operation.count / load_time, 3) if load_time else 0.0,
        latency_us=distribution(operation.latency),
        phases_us={name: _counted(phase) for name, phase in sorted(operation.phases.items())},
        error_groups=dict(sorted(operation.error_groups.items(), key=lambda g: (-g[1], g[0]))),
    )


def _error(error: UserError) -> ErrorSummary:
    return ErrorSummary(
        type=error.type,
        place=error.place,
        message=error.message,
        count=error.count,
        first=iso(error.first),
        last=iso(error.last),
        detail=error.detail,
    )


def _clock(one: Clock) -> ClockFigures:
    known = one.bound != float("inf")
    return ClockFigures(
        round(one.wall * 1e6) if known else None, round(one.bound * 1e6) if known else None
    )


def _health(run: Run) -> HealthFigures:
    results, overload, rows = run.results, overload_of(run), rows_of(run)
    return HealthFigures(
        workers=tuple(
            WorkerHealth(**{name: _rounded(getattr(one, name)) for name in type(one).__slots__})
            for _, one in sorted(results.health.items())
        ),
        worst=Worst(
            cpu=round(max((row.cpu for row in rows), default=0.0), 3),
            lag_us=max((row.lag_us for row in rows), default=0),
            **results.worst,
        ),
        overloaded_seconds=OverloadedSeconds(
            overload.total, overload.lag, overload.cpu, overload.clock
        ),
        pickup_lag_us=_counted(results.total.lag),
        late_reports=results.late_reports,
        verdict=tuple(verdict(run)),
    )


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _row(row: Row, run: Run) -> SecondRow:
    return SecondRow(
        second=row.second,
        time=iso(row.second),
        elapsed_s=row.second - int(run.started_at),
        users=UsersByState(**row.users.by_state()),
        started=row.started,
        iterations=row.iterations,
        failed=row.failed,
        operations={
            name: OperationSecond(
                one.count, one.errors, one.interrupted, one.p50, one.p95, one.p99, one.max
            )
            for name, one in sorted(row.operations.items())
        },
        counters=row.counters,
        gauges=row.gauges,
        cpu=round(row.cpu, 3),
        lag_us=row.lag_us,
        marks=row.marks,
    )
