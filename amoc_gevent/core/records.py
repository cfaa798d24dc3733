"""The records of a run store, from which a restarted master continues the same run."""

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
    """A record that is not from amoc, or was written by another version of it."""


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
    """What all nodes together measured in one second."""

    second: int
    snapshot: Snapshot
    health: tuple[Health, ...]
    users: UserCounts


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of a run. Of the parts stored before its state, only the rows are needed."""

    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Events:
    """Consecutive events of a run."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node and which of its reports are processed; fields as in `NodeView`."""

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
    """Return the `kind` encoded in `data`, or raise RecordError."""
    try:
        return codec.decode(kind, data)
    except ValueError as error:
        message = f"this version cannot read a record of the run store: {error}"
        raise RecordError(message) from error


def record_of_run(run: Run) -> RunRecord:
    """Return the record of `run`, without its measurements and events."""
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
    """Return the stored run. Its measurements and events are added afterwards, one by one."""
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
    """Return the record of a node."""
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
    """Return the stored node, as if it had reported at `now` (the master's monotonic time).

    Its state and users are not stored: its next report has them.
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
