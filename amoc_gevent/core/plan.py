"""The plan: the desired state of a run, from which each worker computes which users are its own.

Placement and start slots are pure functions of it, so a worker that joins late, restarts or misses
some plans arrives at the same answer, and a million users cost as much to command as ten.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isnan
from typing import Literal

from amoc_gevent.core.intervals import IdSet

Status = Literal["idle", "starting", "running", "stopping", "finished", "failed"]
OnUserError = Literal["repeat", "remove", "stop"]
ON_USER_ERROR: tuple[OnUserError, ...] = ("repeat", "remove", "stop")

UNRELEASED = float("inf")
"""The start of a batch whose workers are not all ready yet."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The ids that one `do` or `add` brought.

    `start` is the first user's slot in seconds of the master's time, `rate` in users per second
    over all `nodes`, which are in the order in which they take users. ValueError for a batch from
    which no start slots or places could be computed.
    """

    first: int
    last: int
    start: float
    rate: float
    nodes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise ValueError(f"a batch of users {self.first} to {self.last}")
        if not self.rate > 0 or isnan(self.start):
            raise ValueError(f"a batch that starts at {self.start} with {self.rate} users a second")
        if not self.nodes or len({*self.nodes}) < len(self.nodes):
            raise ValueError(f"a batch on the nodes {self.nodes}")

    def slot(self, user_id: int) -> float:
        """Return when this user starts: evenly spaced over the whole cluster, no bursts."""
        return self.start + (user_id - self.first) / self.rate

    @property
    def length_s(self) -> float:
        """Seconds from the first user's slot to when the next batch may begin."""
        return (self.last - self.first + 1) / self.rate

    def ids_at(self, node: str) -> range:
        """Return the ids that `node` takes, round robin: the first id to the first node."""
        if node not in self.nodes:
            return range(0)
        return range(self.first + self.nodes.index(node), self.last + 1, len(self.nodes))


@dataclass(frozen=True, slots=True)
class Removal:
    """Ids that shall end: gently after their present round, or by force at once."""

    first: int
    last: int
    force: bool


@dataclass(frozen=True, slots=True)
class Options:
    """How the users of a run behave. Times in seconds; `repeat_num` 0 means without end."""

    user_rate: float = 20.0
    repeat_interval: float = 60.0
    repeat_num: int = 0
    on_user_error: OnUserError = "repeat"
    stop_timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new value for a setting, which each worker tries once; `number` tells it from the last."""

    number: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall be. `time` is the master's when it was published; `run` is empty when idle.

    `settings` are those given by name that were found good, and `proposal` is one that is not yet:
    a worker that starts meanwhile must not fail over it. `acks` holds for each node what was
    received of it: (incarnation, sequence number up to which nothing is missing).
    """

    version: int = 0
    time: float = 0.0
    run: str = ""
    status: Status = "idle"
    force: bool = False
    scenario: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    proposal: Proposal | None = None
    options: Options = Options()
    batches: tuple[Batch, ...] = ()
    removals: tuple[Removal, ...] = ()
    acks: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def highest(self) -> int:
        """The highest id ever used in this run; `add` continues after it."""
        return max((batch.last for batch in self.batches), default=0)

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


def own_ids(plan: Plan, node: str, workers: int, worker: int) -> Iterator[tuple[Batch, range]]:
    """Yield each batch with the ids that are `worker`'s (0-based) of the `workers` of `node`.

    Within a node users go round robin as well, going on where the last batch ended, so that ten
    batches of one user do not all land on the first worker.
    """
    before = 0
    for batch in plan.batches:
        at_node = batch.ids_at(node)
        yield batch, at_node[(worker - before) % workers :: workers]
        before += len(at_node)


def rotated(nodes: tuple[str, ...], batches: tuple[Batch, ...]) -> tuple[str, ...]:
    """Return `nodes` in join order, beginning after the one that took the last user so far."""
    if not batches or not nodes:
        return nodes
    last = batches[-1]
    taker = last.nodes[(last.last - last.first) % len(last.nodes)]
    after = nodes.index(taker) + 1 if taker in nodes else 0
    return nodes[after:] + nodes[:after]


def next_slot(plan: Plan, ended: IdSet, now: float) -> float:
    """Return when a batch that is added now may begin: when all users before it have started."""
    for highest, _ in highest_present(plan, ended, 1):
        batch = next(batch for batch in plan.batches if batch.first <= highest <= batch.last)
        return max(now, batch.slot(highest) + 1 / batch.rate)
    return now


def highest_present(plan: Plan, ended: IdSet, count: int) -> list[tuple[int, int]]:
    """Return the intervals of the `count` highest ids that are neither removed nor ended."""
    gone = IdSet(ended)
    for removal in plan.removals:
        gone.add(removal.first, removal.last)
    found: list[tuple[int, int]] = []
    for batch in reversed(plan.batches):
        for first, last in gone.gaps_down(batch.first, batch.last):
            if count <= 0:
                return found
            low = max(first, last - count + 1)
            found.append((low, last))
            count -= last - low + 1
    return found
