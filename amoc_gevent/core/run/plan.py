"""The plan: the desired state of a run, from which each worker computes which users are its own.

A million users cost as much to command as ten. Who has which of them follows from it by
`placement`, and when each starts by its batch, its moves and the pauses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isnan
from typing import Literal

Status = Literal["idle", "starting", "running", "stopping", "finished", "failed", "lost"]
"""`lost` is a past run whose process was gone before its end was stored."""

OnUserError = Literal["repeat", "remove", "stop"]
ON_USER_ERROR: tuple[OnUserError, ...] = ("repeat", "remove", "stop")
OnNodeLoss = Literal["replace", "keep"]
ON_NODE_LOSS: tuple[OnNodeLoss, ...] = ("replace", "keep")
Strategy = Literal["round-robin", "blocks", "capacity"]
STRATEGIES: tuple[Strategy, ...] = ("round-robin", "blocks", "capacity")

UNRELEASED = float("inf")
"""The start of what must not start yet: a batch whose workers are not ready, a move not done."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The ids that one `do` or `add` brought.

    `start` is the first user's slot in seconds of the master's time, `rate` in users per second
    over all `nodes`, which are in the order in which they take users; by capacity a node stands
    there several times. With `blocks` each node takes one stretch of ids instead. ValueError for a
    batch from which no start slots or places could be computed.
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
        """Return when this user starts: evenly spaced over the whole cluster, no bursts."""
        return self.start + (user_id - self.first) / self.rate

    @property
    def size(self) -> int:
        """How many users it has."""
        return self.last - self.first + 1

    @property
    def length_s(self) -> float:
        """Seconds from the first user's slot to when the next batch may begin."""
        return self.size / self.rate


@dataclass(frozen=True, slots=True)
class Move:
    """Users of some nodes, those with ids from `first` on, that others take over in turn.

    So it is when nodes were lost, when some return as new processes (then there are no destinations: each
    keeps its own), and when users are spread anew. They start at `rate` a second from `start` on,
    but for those in `ended`, which have ended by themselves. `batches` were there before it: those
    have been moved.
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
    """Every `step`-th id that shall end: gently after their present round, or by force at once."""

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
    """How the users of a run behave. Times in seconds; `repeat_num` 0 means without end."""

    user_rate: float = 20.0
    repeat_interval: float = 60.0
    repeat_num: int = 0
    on_user_error: OnUserError = "repeat"
    stop_timeout: float = 5.0
    on_node_loss: OnNodeLoss = "replace"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new value for a setting, which each worker tries once; `number` tells it from the last."""

    number: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall be; `run` is empty when idle.

    `scenario` is its path at the master and `code` the SHA-256 of its sources. `settings` are those
    given by name that were found good, and `proposal` is one that is not yet: a worker that starts
    meanwhile must not fail over it. `pauses` are the times (from, to) in which no user starts, the
    last one without end while it lasts.
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

    @property
    def highest(self) -> int:
        """The highest id ever used in this run; `add` continues after it."""
        return max((batch.last for batch in self.batches), default=0)

    @property
    def going_on(self) -> bool:
        """Whether there is a run whose users are to be there."""
        return self.status in {"starting", "running"}

    @property
    def paused(self) -> bool:
        """Whether no user starts now."""
        return bool(self.pauses) and self.pauses[-1][1] == UNRELEASED

    def released(self, start: float) -> "Plan":
        """Return the plan in which batches that had no start yet begin at `start`.

        One follows the other, so that users start at the rate that was asked for and no faster.
        """
        batches = list(self.batches)
        for at, batch in enumerate(batches):
            if batch.start == UNRELEASED:
                batches[at] = replace(batch, start=start)
                start += batch.length_s
        return replace(self, batches=tuple(batches))


def delayed(slot: float, pauses: tuple[tuple[float, float], ...]) -> float:
    """Return when a user really starts who, without pauses, would at `slot`."""
    for begin, end in pauses:
        if slot >= begin:
            slot += end - begin
    return slot


def undelayed(now: float, pauses: tuple[tuple[float, float], ...]) -> float:
    """Return the slot of a user who starts at `now`, or when the pause of now is over."""
    spent = 0.0
    for begin, end in pauses:
        if now < end:
            return min(now, begin) - spent
        spent += end - begin
    return now - spent
