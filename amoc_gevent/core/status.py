"""How a run stands, as the answer to `status`: plain data for a prompt, a socket or a page."""

from amoc_gevent.core.measure.snapshot import Operation
from amoc_gevent.core.run.run import Run


def status_of(run: Run | None, nodes: int, now: float) -> dict[str, object]:
    """Return the status of `run` (None: there was none yet) at `now`, the master's time."""
    if run is None:
        return {"status": "idle", "nodes": nodes}
    return {
        "run": run.id,
        "scenario": run.scenario,
        "status": run.status,
        "paused": run.plan.paused,
        "comment": run.comment,
        "elapsed_s": round(run.elapsed(now), 1),
        "nodes": nodes,
        "workers": run.workers,
        "users": run.users.by_state(),
        "failure": run.failure.message if run.failure else None,
        "failure_detail": run.failure.detail if run.failure else "",
        "failure_usage": run.failure.usage if run.failure else False,
        "operations": {
            name: _operation(operation) for name, operation in run.results.total.operations.items()
        },
        "errors": [
            {"type": error.type, "place": error.place, "count": error.count}
            for error in run.results.total.errors.values()
        ],
    }


def _operation(operation: Operation) -> dict[str, object]:
    p50, p95 = operation.latency.percentiles((0.5, 0.95))
    return {
        "count": operation.count,
        "errors": operation.errors,
        "interrupted": operation.interrupted,
        "p50_us": p50,
        "p95_us": p95,
    }
