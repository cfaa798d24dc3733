"""Placement of users on nodes and workers, as a pure function of the plan.

Every process computes the same placement, even if it joined late, restarted or missed some plans.
Placement is sticky: a batch goes to the nodes present when it was made; only a move changes that.

The strategies are named in `plan.STRATEGIES`. `turn_order` and `_ids_at` carry them out, `Batch`
says which may name a node twice, and `planning.add` which continue after the last node.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice

from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.run.plan import UNRELEASED, Batch, Move, Plan, Removal, Strategy

ANY_TIME = float("-inf")


@dataclass(frozen=True, slots=True)
class Share:
    """Users of one batch on one node. Worker number (turn + k) % workers has `ids[k]`.

    If they came by a move, the first starts at `resume` or later, the others `pace` seconds apart.
    """

    batch: Batch
    ids: range
    turn: int
    resume: float = ANY_TIME
    pace: float = 0.0

    def of_worker(self, workers: int, worker: int) -> "Share":
        """Return the part for worker number `worker` (from 0) of `workers`."""
        skipped = (worker - self.turn) % workers
        resume = self.resume + skipped * self.pace
        return replace(
            self, ids=self.ids[skipped::workers], resume=resume, pace=self.pace * workers
        )


def _ids_at(batch: Batch, place: int) -> range:
    """Return the ids of the batch for its node number `place`: every n-th id, or one block."""
    first, size, n = batch.first, batch.size, len(batch.nodes)
    if batch.strategy == "blocks":
        return range(first + place * size // n, first + (place + 1) * size // n)
    return range(first + place, batch.last + 1, n)


class Placement:
    """The shares of some nodes, built by applying batches and moves in order."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self.shares: dict[str, list[Share]] = {node: [] for node in nodes}
        self._turns: Counter[str] = Counter()

    def place(self, batch: Batch) -> None:
        """Give each node its ids. Its workers take turns, continuing after the last batch."""
        for place, node in enumerate(batch.nodes):
            if node in self.shares and (ids := _ids_at(batch, place)):
                self.shares[node].append(Share(batch, ids, self._turn(node, len(ids))))

    def _turn(self, node: str, count: int) -> int:
        before = self._turns[node]
        self._turns[node] += count
        return -before

    def move(self, move: Move) -> None:
        """Take users from some nodes and give them to the destinations.

        Users that have not been released to a source node yet stay unreleased at their destination.
        """
        got: list[tuple[str, Share]] = []
        before = 0
        for source in move.sources:
            destinations = move.destinations or (source,)
            known = [
                (place, taker) for place, taker in enumerate(destinations) if taker in self.shares
            ]
            for share in self._taken(source, move.first):
                held = max(move.start, share.resume) == UNRELEASED
                for place, taker in known:
                    begin = (place - before) % len(destinations)
                    ids = share.ids[begin :: len(destinations)]
                    if ids:
                        resume = UNRELEASED if held else move.start + (before + begin) / move.rate
                        pace = len(destinations) / move.rate
                        turn = self._turn(taker, len(ids))
                        got.append((taker, Share(share.batch, ids, turn, resume, pace)))
                before += len(share.ids)
        for taker, share in got:
            self.shares[taker].append(share)

    def _taken(self, source: str, first: int) -> list[Share]:
        """Take the users with ids from `first` on away from `source`, and return their shares."""
        kept: list[Share] = []
        taken: list[Share] = []
        for share in self.shares[source]:
            stays = _count_below(share.ids, first)
            if stays:
                kept.append(replace(share, ids=share.ids[:stays]))
            taken.append(replace(share, ids=share.ids[stays:]))
        self.shares[source] = kept
        return taken


def _count_below(ids: range, first: int) -> int:
    """Return how many of `ids` (ascending) are below `first`."""
    return len(range(ids.start, min(max(first, ids.start), ids.stop), ids.step))


def _in_order(plan: Plan) -> Iterator[Batch | Move]:
    """Yield batches and moves in the order in which they were made."""
    done = 0
    for move in plan.moves:
        yield from plan.batches[done : move.batches]
        yield move
        done = max(done, move.batches)
    yield from plan.batches[done:]


def own_shares(plan: Plan, node: str, workers: int, worker: int) -> list[Share]:
    """Return the shares of one worker, in the order in which it got them."""
    shares = (share.of_worker(workers, worker) for share in shares_of(plan, (node,))[node])
    return [share for share in shares if share.ids]


def differences(had: list[Share], have: list[Share]) -> tuple[list[range], list[Share]]:
    """Return the ids that a worker must drop, and the shares that it must add.

    A share that only lost its last ids is kept. The cost is linear in the number of shares, because
    a run with thousands of commands has thousands of shares.
    """
    before, after = {*had}, {*have}
    shrunk: dict[object, list[Share]] = {}
    for share in had:
        if share not in after:
            shrunk.setdefault(_start_key(share), []).append(share)
    new: list[Share] = []
    dropped: list[range] = []
    continued: set[Share] = set()
    for share in have:
        if share in before:
            continue
        candidates = shrunk.get(_start_key(share), [])
        longer = next((one for one in candidates if _begins_with(one, share)), None)
        if longer is None:
            new.append(share)
        else:
            candidates.remove(longer)
            continued.add(longer)
            dropped.append(longer.ids[len(share.ids) :])
    left = (share.ids for share in had if share not in after and share not in continued)
    return [*dropped, *left], new


def _start_key(share: Share) -> object:
    return share.batch, share.resume, share.pace, share.ids.start


def _begins_with(longer: Share, share: Share) -> bool:
    return longer.ids[: len(share.ids)] == share.ids


def shares_of(plan: Plan, nodes: Iterable[str]) -> dict[str, list[Share]]:
    """Return the current shares of each of `nodes`."""
    wanted = {*nodes}
    placement = Placement(wanted.union(*(move.sources for move in plan.moves)))
    for made in _in_order(plan):
        if isinstance(made, Batch):
            placement.place(made)
        else:
            placement.move(made)
    return {node: placement.shares[node] for node in wanted}


def turn_order(strategy: Strategy, workers: Mapping[str, int]) -> tuple[str, ...]:
    """Return the order in which nodes take users: each once, or once per worker by capacity.

    By capacity the turns of each node are spread evenly over the order.
    """
    if strategy != "capacity":
        return tuple(workers)
    turns = [
        ((turn + 0.5) / count, place, node)
        for place, (node, count) in enumerate(workers.items())
        for turn in range(count)
    ]
    return tuple(node for _, _, node in sorted(turns))


def rotated(nodes: tuple[str, ...], batches: tuple[Batch, ...]) -> tuple[str, ...]:
    """Rotate `nodes`, which are in join order, to begin after the one that took the last user."""
    if not batches or not nodes:
        return nodes
    last = batches[-1]
    taker = last.nodes[(last.last - last.first) % len(last.nodes)]
    after = nodes.index(taker) + 1 if taker in nodes else 0
    return nodes[after:] + nodes[:after]


def next_slot(plan: Plan, ended: IdSet, now: float) -> float:
    """Return when a batch added at `now` may start: after the last slot of the users before it."""
    for highest, _ in highest_present(plan, ended, 1):
        batch = next(batch for batch in plan.batches if batch.first <= highest <= batch.last)
        return max(now, batch.slot(highest) + 1 / batch.rate)
    return now


def gone_from(plan: Plan, ended: IdSet) -> IdSet:
    """Return the ids that were removed or have ended."""
    gone = IdSet(ended)
    for removal in plan.removals:
        gone.add_range(removal.ids)
    return gone


def highest_present(plan: Plan, ended: IdSet, count: int) -> list[tuple[int, int]]:
    """Return the intervals of the `count` highest ids that are neither removed nor ended."""
    gone = gone_from(plan, ended)
    found: list[tuple[int, int]] = []
    for batch in reversed(plan.batches):
        for first, last in gone.gaps_down(batch.first, batch.last):
            if count <= 0:
                return found
            low = max(first, last - count + 1)
            found.append((low, last))
            count -= last - low + 1
    return found


def removals_of(
    plan: Plan, ended: IdSet, count: int, nodes: tuple[str, ...], *, force: bool
) -> tuple[Removal, ...]:
    """Return removals of the `count` highest present ids, on `nodes` or on all nodes."""
    if not nodes:
        chosen = highest_present(plan, ended, count)
        return tuple(Removal(first, last, force) for first, last in chosen)
    present = _present_down(shares_of(plan, nodes).values(), gone_from(plan, ended))
    return tuple(_runs_of([*islice(present, count)], force=force))


def _present_down(shares: Iterable[list[Share]], gone: IdSet) -> Iterator[int]:
    """Yield the ids in `shares` that are not gone, highest first."""
    ids = merge(*(reversed(one.ids) for node in shares for one in node), reverse=True)
    return (user_id for user_id in ids if user_id not in gone)


def _runs_of(ids: list[int], *, force: bool) -> Iterator[Removal]:
    """Yield removals of the descending `ids`, each for a stretch with one step."""
    at = 0
    while at < len(ids):
        end = at + 1
        step = ids[at] - ids[end] if end < len(ids) else 1
        while end < len(ids) and ids[end - 1] - ids[end] == step:
            end += 1
        yield Removal(ids[end - 1], ids[at], force, step)
        at = end


def moves_to(
    plan: Plan, sources: Iterable[str], destinations: tuple[str, ...], ended: IdSet, start: float
) -> tuple[Move, ...]:
    """Return one move of all users on `sources` to `destinations` in turn, none without users.

    The move has no more destinations than users. Without destinations each source keeps its own
    users, which start again.
    """
    sources = sorted(sources)
    shares = shares_of(plan, sources)
    having = tuple(source for source in sources if shares[source])
    if not having:
        return ()
    needed = destinations[: sum(len(share.ids) for source in having for share in shares[source])]
    rate, batches = plan.options.user_rate, len(plan.batches)
    return (Move(having, needed, 0, start, rate, batches, tuple(ended)),)


def rebalancing(plan: Plan, nodes: tuple[str, ...], ended: IdSet) -> tuple[Move, ...]:
    """Return the moves after which all of `nodes` have the same number of users, give or take one.

    As few users as possible move. They are those with the highest ids, of which the fewest have
    started. The moves are unreleased: the sources must drop the users first.
    """
    gone = gone_from(plan, ended)
    shares = shares_of(plan, nodes)
    present = {node: sum(_present_in(one.ids, gone) for one in shares[node]) for node in nodes}
    total = sum(present.values())
    base, more = divmod(total, len(nodes))
    fullest = sorted(nodes, key=lambda node: -present[node])
    target = {node: base + (place < more) for place, node in enumerate(fullest)}
    room = {node: target[node] - present[node] for node in nodes if present[node] < target[node]}
    moves: list[Move] = []
    for source in fullest:
        excess = present[source] - target[source]
        if excess <= 0:
            continue
        highest = [*islice(_present_down([shares[source]], gone), excess)]
        taken = 0
        for taker in [node for node in room if room[node]]:
            count = min(excess - taken, room[taker])
            if count:
                taken += count
                room[taker] -= count
                moves.append(_rebalancing_move(plan, source, taker, highest[taken - 1], ended))
    return tuple(moves)


def _rebalancing_move(plan: Plan, source: str, taker: str, first: int, ended: IdSet) -> Move:
    rate, batches = plan.options.user_rate, len(plan.batches)
    return Move((source,), (taker,), first, UNRELEASED, rate, batches, tuple(ended))


def _present_in(ids: range, gone: IdSet) -> int:
    return len(ids) - gone.count_in(ids)


def release_moves(plan: Plan, ended: IdSet, start: float) -> Plan:
    """Return the plan with its unreleased moves started, from `start` on, one after another.

    The users in `ended` have ended meanwhile, on whichever node.
    """
    gone = gone_from(plan, ended)
    placement = Placement({source for move in plan.moves for source in move.sources})
    moves: list[Move] = []
    for made in _in_order(plan):
        if isinstance(made, Batch):
            placement.place(made)
            continue
        move = made
        if move.start == UNRELEASED:
            move = replace(move, start=start, ended=tuple(ended))
            leaving = (
                share.ids[_count_below(share.ids, move.first) :]
                for source in move.sources
                for share in placement.shares[source]
            )
            start += sum(_present_in(ids, gone) for ids in leaving) / move.rate
        placement.move(move)
        moves.append(move)
    return replace(plan, moves=tuple(moves))
