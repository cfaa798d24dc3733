"""Builds the answers to `status` and `describe` from a run."""

from amoc_gevent.core.answers import (
    Description,
    ErrorCount,
    IdleStatus,
    OperationFigures,
    RunStatus,
    UsersByState,
)
from amoc_gevent.core.manifest import Manifest
from amoc_gevent.core.measure.snapshot import Operation
from amoc_gevent.core.run.run import Run


def status_of(run: Run | None, nodes: int, now: float) -> IdleStatus | RunStatus:
    """Return the status of `run` (None before the first run) at `now`, the master's time."""
    if run is None:
        return IdleStatus("idle", nodes)
    total = run.results.total
    return RunStatus(
        run=run.id,
        scenario=run.scenario,
        status=run.status,
        paused=run.plan.paused,
        comment=run.comment,
        elapsed_s=round(run.elapsed(now), 1),
        nodes=nodes,
        workers=run.workers,
        users=UsersByState(**run.users.by_state()),
        failure=run.failure.message if run.failure else None,
        failure_detail=run.failure.detail if run.failure else "",
        failure_usage=run.failure.usage if run.failure else False,
        operations={name: _figures(one) for name, one in total.operations.items()},
        errors=tuple(ErrorCount(one.type, one.place, one.count) for one in total.errors.values()),
    )


def _figures(operation: Operation) -> OperationFigures:
    p50, p95 = operation.latency.percentiles((0.5, 0.95))
    return OperationFigures(
        count=operation.count,
        errors=operation.errors,
        interrupted=operation.interrupted,
        p50_us=p50,
        p95_us=p95,
    )


def description_of(run: Run, manifest: Manifest) -> Description:
    """Return the declarations of the run's scenario, with all operations measured so far."""
    found = manifest.with_operations(run.results.total.operations)
    return Description(
        run=run.id,
        name=found.scenario,
        docstring=found.docstring,
        callbacks=found.callbacks,
        settings=found.settings,
        operations=found.operations,
        profile=found.profile,
        throttles=found.throttles,
        expectations=found.expectations,
        feeders=found.feeders,
    )
