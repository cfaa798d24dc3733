"""The messages between master, node and worker. `core.codec` turns them into bytes and back.

Decoding raises MessageError for anything that is not such a message.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

from amoc_gevent.core import codec
from amoc_gevent.core.manifest import Manifest
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.run.plan import Plan
from amoc_gevent.errors import AmocError

State = Literal["starting", "ready", "stopped", "failed"]
"""A worker's or node's state in a run: loading, ready or running, ended, unable to continue."""

T = TypeVar("T")


class MessageError(AmocError):
    """A message that is not from amoc, or from another version of it."""


@dataclass(frozen=True, slots=True)
class UserCounts:
    """Numbers of users by state: before their slot, inside `start`, between iterations, ended."""

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

    def by_state(self) -> dict[str, int]:
        """Return the counts keyed by state."""
        return {name: getattr(self, name) for name in UserCounts.__slots__}

    @property
    def total(self) -> int:
        """The number of users ever assigned."""
        return self.waiting + self.running + self.resting + self.done

    @property
    def present(self) -> int:
        """The number of users that have started and not ended."""
        return self.running + self.resting


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one worker in one second.

    `cpu` is the share of one core. `timer_lag_us` is the longest delay of a timer, `pickup_lag_us`
    the longest wait of received bytes to be read. `rss` is in bytes. `clock_step_s` is the step of
    the wall clock in seconds. If a worker reports nothing for the second, its node reports it as
    `silent`, with the silence so far as its lag.
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
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Clock:
    """The offsets of a node's clocks to the master's, in seconds.

    `offset` is the master's time minus the node's monotonic clock, `wall` the master's time minus
    its wall clock. Both are accurate to `bound`, which is infinite before the first exchange.
    """

    offset: float = 0.0
    wall: float = 0.0
    bound: float = float("inf")


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth reporting in the summary. `time` is wall time."""

    time: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run cannot start or continue. `usage` marks a mistake in the command."""

    message: str
    detail: str = ""
    usage: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A report of a worker to its node, or a node to its master: each second and on each change.

    `source` is a node's name or a worker's number. `oldest` is the sequence number of the oldest
    report that the sender still keeps: earlier ones will never come. `seconds` holds measurements
    keyed by the second of the master's time, `ended` the intervals of ids that ended by themselves.
    The first report as ready carries the `manifest`: a worker's own, or the one that all workers of
    a node share.

    Nodes only: `sent` is the node's monotonic time. `place` names the home that it runs from, which
    no other process shares. `wants` is the SHA-256 of sources that it lacks. `left` says that it
    ends for good.
    """

    source: str
    incarnation: str
    sequence: int
    run: str
    state: State
    oldest: int = 1
    plan_version: int = 0
    users: UserCounts = UserCounts()
    seconds: tuple[tuple[int, Snapshot], ...] = ()
    health: tuple[Health, ...] = ()
    events: tuple[Event, ...] = ()
    ended: tuple[tuple[int, int], ...] = ()
    failure: Failure | None = None
    workers: int = 0
    sent: float = 0.0
    place: str = ""
    wants: str = ""
    left: bool = False
    clock: Clock = Clock()
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """The master's heartbeat, sent with each plan and every second, less often with many nodes.

    `incarnation` identifies the master's process, `time` is its time, and `version` is the version
    of its plan.
    """

    incarnation: str
    time: float
    version: int


@dataclass(frozen=True, slots=True)
class Ack:
    """The master's acknowledgement of one node's reports.

    The node may drop its reports up to `sequence`. The newest was `sent` by the node's clock and
    `received` by the master's clock, which shows `time` now. The node may run users for `lease`
    seconds after `sent` if it has the plan of this `run` and `version`. With an older plan it might
    run users that another node has by now. `refused` says why it may not run users.
    """

    incarnation: str
    sequence: int
    sent: float
    received: float
    time: float
    lease: float
    run: str = ""
    version: int = 0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """The plan as a node forwards it to its workers, with the facts of this node.

    `scenario` is the path of the scenario on this machine. Users may run until `until` on its
    monotonic clock. While a worker restarts, `ended` has the node's ids that ended by themselves.
    """

    plan: Plan
    node: str
    workers: int
    scenario: str
    clock: Clock
    until: float
    ended: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"a node has at least one worker, not {self.workers}")


def encode(message: Plan | Order | Report | Beat | Ack) -> bytes:
    """Return the message as bytes."""
    return codec.encode(message)


def _decode(kind: type[T], data: bytes) -> T:
    try:
        return codec.decode(kind, data)
    except ValueError as error:
        raise MessageError(str(error)) from error


def decode_plan(data: bytes) -> Plan:
    """Return the plan encoded in `data`, or raise MessageError."""
    return _decode(Plan, data)


def decode_beat(data: bytes) -> Beat:
    """Return the beat encoded in `data`, or raise MessageError."""
    return _decode(Beat, data)


def decode_ack(data: bytes) -> Ack:
    """Return the acknowledgement encoded in `data`, or raise MessageError."""
    return _decode(Ack, data)


def decode_order(data: bytes) -> Order:
    """Return the order encoded in `data`, or raise MessageError."""
    return _decode(Order, data)


def decode_report(data: bytes) -> Report:
    """Return the report encoded in `data`, or raise MessageError."""
    return _decode(Report, data)
