"""The messages between master, node and worker: the only place that has them.

How they become bytes is codec's. What cannot be decoded raises MessageError.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

from amoc_gevent.core import codec
from amoc_gevent.core.manifest import Manifest
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.run.plan import Plan
from amoc_gevent.errors import AmocError

State = Literal["starting", "ready", "stopped", "failed"]
"""Of a worker or a node towards a run: loading, ready to run or running, ended, cannot go on."""

T = TypeVar("T")


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

    def by_state(self) -> dict[str, int]:
        """Return the counts by the names of their states."""
        return {name: getattr(self, name) for name in UserCounts.__slots__}

    @property
    def total(self) -> int:
        """All that were ever assigned."""
        return self.waiting + self.running + self.resting + self.done

    @property
    def present(self) -> int:
        """Users that have started and not ended."""
        return self.running + self.resting


@dataclass(frozen=True, slots=True)
class Health:
    """How one worker fared in one second.

    `cpu` is the share of one core, `timer_lag_us` the longest that a timer fired late and
    `pickup_lag_us` the longest that arrived bytes waited to be read, `rss` in bytes;
    `clock_step_s` is by how much the wall clock was stepped, in seconds. Of a worker that told
    nothing of the second its node says that it is `silent`, with the silence so far as its lag.
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
    """How a node's clocks stand to the master's.

    `offset` is the master's time minus the machine's monotonic clock and `wall` minus its wall
    clock, in seconds; neither is off by more than `bound`, which is infinite before both heard of
    each other.
    """

    offset: float = 0.0
    wall: float = 0.0
    bound: float = float("inf")


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

    `source` is a node's name or a worker's number; `oldest` is the number of the oldest report that
    it still keeps, so that nobody waits for those before it. `seconds` holds what was measured by
    the second of the master's time, `ended` the intervals of ids that ended by themselves. The
    first report as ready carries the `manifest`: a worker's own, or what a node's workers share.

    Of a node only: `sent` is its monotonic clock, `place` names the home that it runs from, which
    no other process shares, `wants` is the SHA-256 of sources that it lacks, and `left` says that
    it ends for good.
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
    """What a master says of itself, with each plan and once a second; less often to many nodes.

    `life` names this process of it, `time` is its time and `version` that of its plan.
    """

    life: str
    time: float
    version: int


@dataclass(frozen=True, slots=True)
class Ack:
    """What a master tells one node of what it received of it.

    Reports up to `sequence` need not be kept. The newest one was `sent` by the node's clock and
    came at `received` by the master's, where it is `time` now. For `lease` seconds after `sent` the
    node may have users, if it has the plan of this `run` and `version`: an older one may call users
    its own that another node has by now. `refused` says why it may not.
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
    """What a node hands on to its workers: the plan, and what is theirs.

    `scenario` is where its file is here. Users may run until `until` on the machine's monotonic
    clock. `ended` holds, while a worker is being started again, which ids of the node have ended by
    themselves.
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
    """Return the plan that `data` holds, or raise MessageError."""
    return _decode(Plan, data)


def decode_beat(data: bytes) -> Beat:
    """Return the beat that `data` holds, or raise MessageError."""
    return _decode(Beat, data)


def decode_ack(data: bytes) -> Ack:
    """Return the acknowledgement that `data` holds, or raise MessageError."""
    return _decode(Ack, data)


def decode_order(data: bytes) -> Order:
    """Return the order that `data` holds, or raise MessageError."""
    return _decode(Order, data)


def decode_report(data: bytes) -> Report:
    """Return the report that `data` holds, or raise MessageError."""
    return _decode(Report, data)
