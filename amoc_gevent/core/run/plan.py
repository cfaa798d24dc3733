"""The plan: the desired state of a run, from which each worker computes which users are its own.

A million users cost as much to command as ten. `placement` computes the node and worker of a user.
The start of each user follows from its batch, its moves and the pauses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isnan
from typing import Literal

Status = Literal["idle", "starting", "running", "stopping", "finished", "failed", "lost"]
"""`lost` is a past run whose process was gone before it stored the end."""

OnUserError = Literal["repeat", "remove", "stop"]
ON_USER_ERROR: tuple[OnUserError, ...] = ("repeat", "remove", "stop")
OnNodeLoss = Literal["replace", "keep"]
ON_NODE_LOSS: tuple[OnNodeLoss, ...] = ("replace", "keep")
Strategy = Literal["round-robin", "blocks", "capacity"]
STRATEGIES: tuple[Strategy, ...] = ("round-robin", "blocks", "capacity")

UNRELEASED = float("inf")
"""The start of a batch whose workers are not ready, or of a move that is not finished."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The ids from one `do` or `add`.

    `start` is the slot of the first user in seconds of the master's time. `rate` is in users per
    second over all `nodes`. The nodes take users in turn in this order; by capacity a node occurs
    several times. With `blocks` each node takes one block of ids instead. Raises ValueError for a
    batch from which start slots or nodes cannot be computed.
    """

    first: int
    last: int
    start: float
    rate: float
    nodes: tuple[str, ...]
    strategy: Strategy = "round-robin"

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise ValueError(f"a batch of users {self.first} to {self.last}")
        if not self.rate > 0 or isnan(self.start):
            raise ValueError(f"a batch that starts at {self.start} with {self.rate} users a second")
        distinct = self.strategy == "capacity" or len({*self.nodes}) == len(self.nodes)
        if not self.nodes or not distinct:
            raise ValueError(f"a batch on the nodes {self.nodes}")

    def slot(self, user_id: int) -> float:
        """Return the start time of this user. Starts are evenly spaced over the whole cluster."""
        return self.start + (user_id - self.first) / self.rate

    @property
    def size(self) -> int:
        """The number of users."""
        return self.last - self.first + 1

    @property
    def length_s(self) -> float:
        """Seconds from the first user's slot to the earliest start of the next batch."""
        return self.size / self.rate


@dataclass(frozen=True, slots=True)
class Move:
    """Users on `sources`, with ids from `first` on, that `destinations` take over in turn.

    Moves are made when nodes are lost, when users are rebalanced, and when nodes return as new
    processes. Then there are no destinations: each node keeps its own users. Users start at `rate`
    per second from `start` on, except those in `ended`, which have ended by themselves. The move
    applies to the first `batches` batches.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    first: int
    start: float
    rate: float
    batches: int
    ended: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        sound = self.rate > 0 and not isnan(self.start) and self.batches >= 0
        if not self.sources or not sound:
            raise ValueError(
                f"a move from {self.sources} to {self.destinations} at {self.rate} a second"
            )


@dataclass(frozen=True, slots=True)
class Removal:
    """Ends every `step`-th id from `first` to `last`: after its iteration, or by force at once."""

    first: int
    last: int
    force: bool
    step: int = 1

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ValueError(f"a removal of every {self.step}th user")

    @property
    def ids(self) -> range:
        """The ids, ascending."""
        return range(self.first, self.last + 1, self.step)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run. Times are in seconds; `repeat_num` 0 means no limit."""

    user_rate: float = 20.0
    repeat_interval: float = 60.0
    repeat_num: int = 0
    on_user_error: OnUserError = "repeat"
    stop_timeout: float = 5.0
    on_node_loss: OnNodeLoss = "replace"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new value for a setting, which each worker tries once. `number` identifies the proposal."""

    number: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The desired state of a run. `run` is empty when idle.

    `scenario` is its path on the master, `code` the SHA-256 of its sources. `settings` has the
    accepted values, by name. `proposal` is a value that is not accepted yet: a worker that starts
    meanwhile must not fail because of it. `pauses` are times (from, to) in which no user starts;
    the end of a pause in effect is infinite. `load_ends`: the time at which the duration is over,
    in seconds of the master's steady clock. Users begin no operation after it.
    """

    version: int = 0
    run: str = ""
    status: Status = "idle"
    force: bool = False
    scenario: str = ""
    code: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    proposal: Proposal | None = None
    options: Options = Options()
    batches: tuple[Batch, ...] = ()
    moves: tuple[Move, ...] = ()
    removals: tuple[Removal, ...] = ()
    pauses: tuple[tuple[float, float], ...] = ()
    load_ends: float = UNRELEASED

    @property
    def highest(self) -> int:
        """The highest id ever used in this run; `add` continues after it."""
        return max((batch.last for batch in self.batches), default=0)

    @property
    def going_on(self) -> bool:
        """Whether there is a run that is starting or running."""
        return self.status in {"starting", "running"}

    @property
    def paused(self) -> bool:
        """Whether the run is paused."""
        return bool(self.pauses) and self.pauses[-1][1] == UNRELEASED

    def released(self, start: float) -> "Plan":
        """Return the plan with its unreleased batches started, from `start` on.

        One batch follows the other, so that users never start faster than the requested rate.
        """
        batches = list(self.batches)
        for at, batch in enumerate(batches):
            if batch.start == UNRELEASED:
                batches[at] = replace(batch, start=start)
                start += batch.length_s
        return replace(self, batches=tuple(batches))


def delayed(slot: float, pauses: tuple[tuple[float, float], ...]) -> float:
    """Return the start time, pauses included, of a user whose slot is `slot`."""
    for begin, end in pauses:
        if slot >= begin:
            slot += end - begin
    return slot


def undelayed(now: float, pauses: tuple[tuple[float, float], ...]) -> float:
    """Return the slot of a user that starts at `now`, or after the current pause."""
    spent = 0.0
    for begin, end in pauses:
        if now < end:
            return min(now, begin) - spent
        spent += end - begin
    return now - spent
