"""What a run store keeps, so that a master that is started again goes on with the same run."""

from dataclasses import dataclass
from typing import TypeVar

from amoc_gevent.core import codec
from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.manifest import Declared
from amoc_gevent.core.measure.results import ResultsState
from amoc_gevent.core.measure.rows import Row
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import Clock, Event, Failure, Health, UserCounts
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.plan import Plan, Status
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import AmocError

T = TypeVar("T")


class RecordError(AmocError):
    """A record that is not one of ours, or of another version of this package."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run without its measurements and events; fields as in `Run`."""

    plan: Plan
    first: int
    last: int
    comment: str
    duration: float | None
    workers: int
    started_at: float
    stopping_at: float
    ended_at: float
    ended: tuple[tuple[int, int], ...]
    failure: Failure | None
    final_status: Status
    clocks: dict[str, Clock]


@dataclass(frozen=True, slots=True)
class Measured:
    """What all nodes together told of one second at a time."""

    second: int
    snapshot: Snapshot
    health: tuple[Health, ...]
    users: UserCounts


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a run, in their order; no part before its state is needed but these."""

    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Events:
    """Some events of a run, in their order."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """How far a node's reports were taken in; fields as in `NodeView`."""

    name: str
    incarnation: str
    place: str
    workers: int
    newest: int
    acknowledged: int
    ahead: tuple[int, ...]
    lost: bool


Record = RunRecord | Measured | Rows | ResultsState | Events | NodeRecord | Declared


def encode(record: Record) -> bytes:
    """Return the record as bytes."""
    return codec.encode(record)


def decode(kind: type[T], data: bytes) -> T:
    """Return the `kind` that `data` holds, or raise RecordError."""
    try:
        return codec.decode(kind, data)
    except ValueError as error:
        raise RecordError(f"the run store holds what this version cannot read: {error}") from error


def record_of_run(run: Run) -> RunRecord:
    """Return what is to be kept of `run` besides its measurements and events."""
    return RunRecord(
        run.plan,
        run.first,
        run.last,
        run.comment,
        run.duration,
        run.workers,
        run.started_at,
        run.stopping_at,
        run.ended_at,
        tuple(run.ended_ids),
        run.failure,
        run.final_status,
        run.clocks,
    )


def run_of(record: RunRecord) -> Run:
    """Return the run that was kept; its measurements and events are added to it one by one."""
    return Run(
        record.plan,
        record.first,
        record.last,
        record.comment,
        record.duration,
        record.workers,
        record.started_at,
        record.stopping_at,
        record.ended_at,
        ended_ids=IdSet(record.ended),
        failure=record.failure,
        final_status=record.final_status,
        clocks=record.clocks,
    )


def record_of_node(node: NodeView) -> NodeRecord:
    """Return what is to be kept of a node."""
    return NodeRecord(
        node.name,
        node.incarnation,
        node.place,
        node.workers,
        node.newest,
        node.acknowledged,
        tuple(sorted(node.ahead)),
        node.lost,
    )


def node_of(record: NodeRecord, now: float) -> NodeView:
    """Return the node that was kept, as if it had been heard `now` (the master's monotonic time).

    What it said of itself it will say again.
    """
    return NodeView(
        record.name,
        record.incarnation,
        record.place,
        record.workers,
        acknowledged=record.acknowledged,
        ahead={*record.ahead},
        saved=record.acknowledged,
        heard=now,
        lost=record.lost,
    )
