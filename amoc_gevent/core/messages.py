"""The messages between master, node and worker, and their encoding: the only place that has them.

Plans and reports travel as msgpack arrays in the order of their dataclasses' fields. What cannot be
decoded raises MessageError; nothing received is ever evaluated or unpickled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

import msgpack

from amoc_gevent.core.histogram import Histogram
from amoc_gevent.core.plan import Batch, Options, Plan, Removal
from amoc_gevent.core.snapshot import Gauge, Operation, Snapshot, UserError
from amoc_gevent.errors import AmocError

State = Literal["starting", "ready", "stopped", "failed"]
"""Of a worker or a node towards a run: loading, ready to run or running, ended, cannot go on."""

_T = TypeVar("_T")
_MALFORMED = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)


class MessageError(AmocError):
    """A message that is not one of ours, or of another version of this package."""


@dataclass(frozen=True, slots=True)
class UserCounts:
    """Users by state: before their slot, inside `start`, between two rounds, ended."""

    waiting: int = 0
    running: int = 0
    resting: int = 0
    done: int = 0

    def __add__(self, other: "UserCounts") -> "UserCounts":
        return UserCounts(
            self.waiting + other.waiting,
            self.running + other.running,
            self.resting + other.resting,
            self.done + other.done,
        )

    @property
    def present(self) -> int:
        """Users that have started and not ended."""
        return self.running + self.resting


@dataclass(frozen=True, slots=True)
class Health:
    """How one worker fared in one second.

    `cpu` is the share of one core, `timer_lag_us` the longest that a timer fired late and
    `pickup_lag_us` the longest that arrived bytes waited to be read, `rss` in bytes;
    `clock_step_s` is by how much the wall clock was stepped, in seconds.
    """

    node: str
    worker: int
    second: int
    pid: int
    cpu: float
    timer_lag_us: int
    pickup_lag_us: int
    rss: int
    descriptors: int
    descriptor_limit: int
    clock_step_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened and that a reader of the summary wants to know; `time` is wall."""

    time: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run cannot start or go on; `usage` when the command was wrong rather than the run."""

    message: str
    detail: str = ""
    usage: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker tells its node, or a node its master, once a second and when something changes.

    `source` is a node's name or a worker's number, `seconds` holds what was measured by the second
    of the master's time, `ended` the intervals of ids that ended by themselves.
    """

    source: str
    incarnation: str
    sequence: int
    run: str
    state: State
    plan_version: int = 0
    users: UserCounts = UserCounts()
    seconds: tuple[tuple[int, Snapshot], ...] = ()
    health: tuple[Health, ...] = ()
    events: tuple[Event, ...] = ()
    ended: tuple[tuple[int, int], ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What a node hands on to its workers: the plan, and what is theirs.

    `offset` is the master's time minus the machine's monotonic clock, in seconds; `ended` holds,
    for workers that were started again, which of their ids had ended already.
    """

    plan: Plan
    node: str
    workers: int
    offset: float
    ended: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)


def _flat(item: Any) -> list[Any]:
    return [getattr(item, f.name) for f in fields(item)]


def _pack_operation(operation: Operation) -> list[Any]:
    return [
        operation.count,
        operation.interrupted,
        operation.latency.buckets,
        {name: histogram.buckets for name, histogram in operation.phases.items()},
        operation.error_groups,
    ]


def _unpack_operation(packed: list[Any]) -> Operation:
    operation = Operation()
    operation.count, operation.interrupted, buckets, phases, groups = packed
    operation.latency = Histogram(buckets)
    operation.phases = {name: Histogram(phase) for name, phase in phases.items()}
    operation.error_groups = dict(groups)
    operation.errors = sum(groups.values())
    return operation


def _pack_snapshot(snapshot: Snapshot) -> list[Any]:
    return [
        {name: _pack_operation(operation) for name, operation in snapshot.operations.items()},
        snapshot.counters,
        {name: _flat(gauge) for name, gauge in snapshot.gauges.items()},
        {name: [unit, h.buckets] for name, (unit, h) in snapshot.histograms.items()},
        [_flat(error) for error in snapshot.errors.values()],
        snapshot.lag.buckets,
        snapshot.started,
        snapshot.iterations,
        snapshot.failed,
    ]


def _unpack_snapshot(packed: list[Any]) -> Snapshot:
    operations, counters, gauges, histograms, errors, lag, started, iterations, failed = packed
    return Snapshot(
        operations={name: _unpack_operation(body) for name, body in operations.items()},
        counters=dict(counters),
        gauges={name: Gauge(*body) for name, body in gauges.items()},
        histograms={name: (unit, Histogram(body)) for name, (unit, body) in histograms.items()},
        errors={(body[0], body[1]): UserError(*body) for body in errors},
        lag=Histogram(lag),
        started=started,
        iterations=iterations,
        failed=failed,
    )


def _pack_plan(plan: Plan) -> list[Any]:
    packed = _flat(plan)
    packed[7] = _flat(plan.options)
    packed[8] = [_flat(batch) for batch in plan.batches]
    packed[9] = [_flat(removal) for removal in plan.removals]
    return packed


def _unpack_plan(packed: list[Any]) -> Plan:
    packed[7] = Options(*packed[7])
    packed[8] = tuple(
        Batch(first, last, start, rate, tuple(nodes))
        for first, last, start, rate, nodes in packed[8]
    )
    packed[9] = tuple(Removal(*removal) for removal in packed[9])
    packed[10] = {node: (incarnation, last) for node, (incarnation, last) in packed[10].items()}
    return Plan(*packed)


def _pairs(packed: list[Any]) -> tuple[tuple[int, int], ...]:
    return tuple((first, last) for first, last in packed)


def encode_plan(plan: Plan) -> bytes:
    """Return the plan as bytes."""
    return bytes(msgpack.packb(_pack_plan(plan)))


def decode_plan(data: bytes) -> Plan:
    """Return the plan that `data` holds, or raise MessageError."""
    try:
        return _unpack_plan(msgpack.unpackb(data, strict_map_key=False))
    except (*_MALFORMED, msgpack.UnpackException) as error:
        raise MessageError(f"not a plan: {error!r}") from error


def encode_order(order: Order) -> bytes:
    """Return the order as bytes."""
    packed = [_pack_plan(order.plan), order.node, order.workers, order.offset, order.ended]
    return bytes(msgpack.packb(packed))


def decode_order(data: bytes) -> Order:
    """Return the order that `data` holds, or raise MessageError."""
    try:
        plan, node, workers, offset, ended = msgpack.unpackb(data, strict_map_key=False)
        by_worker = {int(worker): _pairs(ids) for worker, ids in ended.items()}
        return Order(_unpack_plan(plan), node, workers, offset, by_worker)
    except (*_MALFORMED, msgpack.UnpackException) as error:
        raise MessageError(f"not an order: {error!r}") from error


def encode_report(report: Report) -> bytes:
    """Return the report as bytes."""
    packed = _flat(report)
    packed[6] = _flat(report.users)
    packed[7] = [[second, _pack_snapshot(snapshot)] for second, snapshot in report.seconds]
    packed[8] = [_flat(health) for health in report.health]
    packed[9] = [_flat(event) for event in report.events]
    packed[11] = _flat(report.failure) if report.failure else None
    return bytes(msgpack.packb(packed))


def decode_report(data: bytes) -> Report:
    """Return the report that `data` holds, or raise MessageError."""
    try:
        packed = msgpack.unpackb(data, strict_map_key=False)
        packed[6] = UserCounts(*packed[6])
        packed[7] = tuple((second, _unpack_snapshot(body)) for second, body in packed[7])
        packed[8] = tuple(Health(*body) for body in packed[8])
        packed[9] = tuple(Event(*body) for body in packed[9])
        packed[10] = _pairs(packed[10])
        packed[11] = Failure(*packed[11]) if packed[11] is not None else None
        return Report(*packed)
    except (*_MALFORMED, msgpack.UnpackException) as error:
        raise MessageError(f"not a report: {error!r}") from error
