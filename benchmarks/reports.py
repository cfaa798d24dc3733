"""The reports of a simulated node: real messages with the figures of a busy node."""

import random
from collections import Counter
from dataclasses import replace

from amoc_gevent import clock
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import (
    Clock,
    Health,
    Report,
    State,
    UserCounts,
    decode_report,
    encode,
)
from amoc_gevent.core.run.plan import Plan

OPERATIONS = 20
CALLS = 100
"""Calls of each operation per second: 2,000 requests per second and node, its maximum.

With 1,000 nodes that is two million. A tenth of that is more common for a node.
"""

VARIANTS = 8
WORKERS = 2
MEDIAN_US = 20_000


def snapshots(calls: int = CALLS) -> list[Snapshot]:
    """Return the snapshots of some seconds, each with 20 operations of `calls` calls.

    With 100 calls a histogram has about 42 buckets and a snapshot 1,720, with 10 calls about 400.
    They are decoded from a message, like the snapshots that a node gets from its workers.
    """
    made = [(seed, _snapshot(random.Random(seed), calls)) for seed in range(VARIANTS)]
    report = Report("", "", 0, "", "ready", seconds=tuple(made))
    return [snapshot for _, snapshot in decode_report(encode(report)).seconds]


def _snapshot(rng: random.Random, calls: int) -> Snapshot:
    found = Snapshot(iterations=calls, peak=10)
    for number in range(OPERATIONS):
        operation = found.operation(f"GET /pages/{number}")
        for _ in range(calls):
            latency = int(MEDIAN_US * rng.lognormvariate(0, 0.02))
            operation.count += 1
            operation.latency.record(latency)
            operation.phase("first_byte").record(latency - 100)
    for _ in range(10):
        found.lag.record(rng.randrange(200, 2000))
    return found


def users_of(plan: Plan) -> dict[str, UserCounts]:
    """Return the users of each node in a round-robin plan, all of them in `start`."""
    running: Counter[str] = Counter()
    for batch in plan.batches:
        for place, node in enumerate(batch.nodes[: batch.size]):
            running[node] += len(range(batch.first + place, batch.last + 1, len(batch.nodes)))
    return {node: UserCounts(running=count) for node, count in running.items()}


def state_of(plan: Plan) -> State:
    """Return the state of a node whose workers follow a plan at once."""
    return "ready" if plan.status in {"starting", "running"} else "stopped"


def health_of(node: str, second: int) -> tuple[Health, ...]:
    """Return the health of a node's workers."""
    one = Health(node, 0, second, 4711, 0.5, 900, 300, 60 << 20, 200, 65536)
    return tuple(replace(one, worker=worker) for worker in range(WORKERS))


def report_of(
    node: str,
    incarnation: str,
    sequence: int,
    oldest: int,
    plan: Plan,
    clocks: Clock,
    *,
    users: UserCounts,
    measured: tuple[tuple[int, Snapshot], ...],
) -> Report:
    """Return the next report of a node, with its `measured` snapshots by second."""
    return Report(
        source=node,
        incarnation=incarnation,
        sequence=sequence,
        run=plan.run,
        state=state_of(plan),
        oldest=oldest,
        plan_version=plan.version,
        users=users,
        seconds=measured,
        health=tuple(one for second, _ in measured for one in health_of(node, second)),
        workers=WORKERS,
        sent=clock.monotonic(),
        place=f"{node}:/simulated",
        clock=clocks,
    )
