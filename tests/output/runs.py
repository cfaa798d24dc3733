"""Runs made by hand, for outputs to show: figures that a reader can check in the head."""

from collections.abc import Iterable, Mapping

from amoc_gevent.core.measure.snapshot import Gauge, Snapshot, UserError
from amoc_gevent.core.messages import Event, Health, UserCounts
from amoc_gevent.core.run.plan import Batch, Options, Plan
from amoc_gevent.core.run.run import Run

START = 1_700_000_000
"""When the runs begin, in seconds since 1970: 2023-11-14T22:13:20Z."""

LONG_NAME = "GET /v1/customers/{customer}/orders/{order}/items/{item}/reviews"


def run_of(
    status: str = "running", *, duration: float | None = None, ended_after: float = 0.0
) -> Run:
    """Return a run of 10 users on two workers that began at START."""
    plan = Plan(
        run="5f0c2a9b7d1e",
        status=status,  # type: ignore[arg-type]  # each test names a valid one
        scenario="/scenarios/shop.py",
        settings={"base_url": "http://127.0.0.1:8080"},
        options=Options(user_rate=10.0),
        batches=(Batch(1, 10, float(START), 10.0, ("local",)),),
    )
    return Run(
        plan,
        first=1,
        last=10,
        comment="by hand",
        duration=duration,
        workers=2,
        started_at=float(START),
        ended_at=START + ended_after if ended_after else 0.0,
        users=UserCounts(waiting=1, running=2, resting=3, done=4),
    )


def health(second: int, worker: int = 0, **changes: float) -> Health:
    """Return how a worker that has nothing to complain of fared in `second`."""
    values: dict[str, float] = {
        "pid": 100 + worker,
        "cpu": 0.25,
        "timer_lag_us": 1000,
        "pickup_lag_us": 500,
        "rss": 50_000_000,
        "descriptors": 20,
        "descriptor_limit": 1024,
    }
    return Health("local", worker, second, **{**values, **changes})  # type: ignore[arg-type]


def measured(
    latencies: Mapping[str, Iterable[int]],
    errors: Mapping[str, Mapping[str, int]] | None = None,
) -> Snapshot:
    """Return a snapshot with operations of these latencies (µs) and kinds of errors."""
    snapshot = Snapshot()
    for name, values in latencies.items():
        operation = snapshot.operation(name)
        for value in values:
            operation.count += 1
            operation.latency.record(value)
        for kind, times in (errors or {}).get(name, {}).items():
            operation.fail(kind, times)
    return snapshot


def add(run: Run, after: int, snapshot: Snapshot | None = None, **changes: float) -> None:
    """Report `snapshot` for the second that begins `after` seconds into the run."""
    second = START + after
    one = health(second, **changes)
    run.results.add(second, snapshot or Snapshot(), [one], run.users)


def full_run() -> Run:
    """Return a run of ten seconds, ended, that has something of everything."""
    run = run_of("finished", duration=10.0, ended_after=10.0)
    run.events.append(Event(START, "start", "shop with users 1 to 10"))
    for after in range(10):
        latencies = {"GET /": range(100 * after + 1, 100 * after + 101), LONG_NAME: [250_000]}
        snapshot = measured(latencies, {LONG_NAME: {"status 503": 1}})
        snapshot.operations["GET /"].interrupted = 1 if after == 9 else 0
        snapshot.operations["GET /"].phase("first_byte").record(700)
        snapshot.counters["logins"] = 3
        snapshot.gauges["basket"] = Gauge(float(after), "items")
        snapshot.histograms["size"] = ("bytes", measured({"x": [64]}).operations["x"].latency)
        snapshot.started, snapshot.iterations, snapshot.failed = 1, 5, 2
        snapshot.lag.record(400)
        snapshot.add_error(
            UserError(
                "ValueError",
                "shop.py:12",
                "user 3: no basket",
                "Traceback: ...\nValueError",
                2,
                START + after,
                START + after + 0.5,
            )
        )
        add(
            run,
            after,
            snapshot,
            cpu=0.95 if after in {3, 4} else 0.25,
            timer_lag_us=80_000 if after == 4 else 1000,
        )
    run.events.append(Event(START + 7.0, "worker-lost", "worker 2 (pid 101) was killed"))
    run.results.close_all()
    return run
