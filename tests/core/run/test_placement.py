"""Placement: owners of ids, start times, removals and moves."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.run.placement import (
    Share,
    differences,
    highest_present,
    moves_to,
    next_slot,
    own_shares,
    rebalancing,
    release_moves,
    removals_of,
    rotated,
    shares_of,
    turn_order,
)
from amoc_gevent.core.run.plan import (
    UNRELEASED,
    Batch,
    Move,
    Plan,
    Removal,
    delayed,
    undelayed,
)

AB = ("a", "b")


def batch(first: int, last: int, nodes: tuple[str, ...] = ("a",), rate: float = 10.0) -> Batch:
    return Batch(first, last, 100.0, rate, nodes)


def plan(*batches: Batch, removals: tuple[Removal, ...] = ()) -> Plan:
    return Plan(batches=batches, removals=removals)


def owned(of: Plan, node: str, workers: int, worker: int) -> list[int]:
    return [one for share in own_shares(of, node, workers, worker) for one in share.ids]


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (1, [[1, 2, 3, 4, 5]]),
        (2, [[1, 3, 5], [2, 4]]),
        (3, [[1, 4], [2, 5], [3]]),
        (7, [[1], [2], [3], [4], [5], [], []]),
    ],
)
def test_users_go_round_robin_over_the_workers_of_a_node(
    workers: int, expected: list[list[int]]
) -> None:
    of = plan(batch(1, 5))
    assert [owned(of, "a", workers, worker) for worker in range(workers)] == expected


def test_users_go_round_robin_over_the_nodes_in_their_order() -> None:
    of = plan(batch(1, 5, ("b", "a")))
    assert owned(of, "b", 1, 0) == [1, 3, 5]
    assert owned(of, "a", 1, 0) == [2, 4]


def test_ten_batches_of_one_user_are_spread_over_all_workers() -> None:
    of = plan(*(batch(one, one) for one in range(1, 11)))
    assert [len(owned(of, "a", 3, worker)) for worker in range(3)] == [4, 3, 3]


def test_a_node_in_no_batch_has_no_users() -> None:
    assert owned(plan(batch(1, 9)), "late", 2, 0) == []


sizes = st.lists(st.integers(1, 30), min_size=1, max_size=6)


@st.composite
def grown(draw: st.DrawFn) -> tuple[Plan, list[str], int]:
    """A plan that grew by batches while nodes joined, those nodes, and workers on each."""
    nodes: list[str] = []
    batches: tuple[Batch, ...] = ()
    first = draw(st.integers(1, 5))
    for size in draw(sizes):
        nodes += [f"n{len(nodes)}"] * (not nodes or draw(st.booleans()))
        batches += (batch(first, first + size - 1, rotated(tuple(nodes), batches)),)
        first += size
    return Plan(batches=batches), nodes, draw(st.integers(1, 5))


@given(grown())
def test_each_id_is_owned_by_exactly_one_worker(case: tuple[Plan, list[str], int]) -> None:
    of, nodes, workers = case
    everyone = [
        one
        for node in nodes
        for worker in range(workers)
        for one in owned(of, node, workers, worker)
    ]
    assert sorted(everyone) == list(range(of.batches[0].first, of.highest + 1))


@given(grown())
def test_a_later_batch_moves_no_user_of_an_earlier_one(case: tuple[Plan, list[str], int]) -> None:
    of, nodes, workers = case
    before = Plan(batches=of.batches[:-1])
    for node in nodes:
        for worker in range(workers):
            had = owned(before, node, workers, worker)
            assert owned(of, node, workers, worker)[: len(had)] == had


@given(grown())
def test_nodes_that_were_there_all_along_have_equally_many_users(
    case: tuple[Plan, list[str], int],
) -> None:
    of, nodes, _ = case
    always = [n for n in nodes if all(n in b.nodes for b in of.batches)]
    if len(always) == len(nodes):
        counts = [len(owned(of, node, 1, 0)) for node in nodes]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ((), ("a", "b", "c")),
        ((batch(1, 1, ("a", "b", "c")),), ("b", "c", "a")),
        ((batch(1, 3, ("a", "b", "c")),), ("a", "b", "c")),
        ((batch(1, 5, ("b", "c", "a")),), ("a", "b", "c")),
        ((batch(1, 2, ("gone",)),), ("a", "b", "c")),
    ],
)
def test_the_next_batch_begins_with_the_node_after_the_last_one_served(
    batches: tuple[Batch, ...], expected: tuple[str, ...]
) -> None:
    assert rotated(("a", "b", "c"), batches) == expected


def test_slots_are_evenly_spaced_over_the_whole_cluster() -> None:
    of = Batch(11, 30, 1000.0, 4.0, AB)
    assert [of.slot(one) for one in range(11, 16)] == [1000.0, 1000.25, 1000.5, 1000.75, 1001.0]


def test_a_release_starts_the_batches_that_waited_and_no_other() -> None:
    waiting = Batch(1, 5, UNRELEASED, 10.0, AB)
    of = plan(batch(6, 9), waiting).released(500.0)
    assert [b.start for b in of.batches] == [100.0, 500.0]


def test_batches_that_waited_together_start_one_after_the_other_at_the_rate() -> None:
    waiting = [Batch(first, first + 4, UNRELEASED, 10.0, AB) for first in (1, 6, 11)]
    of = plan(*waiting).released(500.0)
    slots = [b.slot(one) for b in of.batches for one in range(b.first, b.last + 1)]
    assert slots == pytest.approx([500.0 + place / 10 for place in range(15)])


@pytest.mark.parametrize(
    ("batches", "removed", "now", "expected"),
    [
        ([], None, 50.0, 50.0),
        ([(1, 10)], None, 50.0, 101.0),  # the last of ten has its slot at 100.9
        ([(1, 10)], None, 100.5, 101.0),
        ([(1, 10)], None, 102.0, 102.0),
        ([(1, 10)], (6, 10), 100.1, 100.5),  # those that were removed need no slots
        ([(1, 10)], (1, 10), 100.1, 100.1),
    ],
)
def test_an_added_batch_begins_when_those_before_it_have_started(
    batches: list[tuple[int, int]],
    removed: tuple[int, int] | None,
    now: float,
    expected: float,
) -> None:
    removals = (Removal(*removed, force=False),) if removed else ()
    of = plan(*(batch(first, last) for first, last in batches), removals=removals)
    assert next_slot(of, IdSet(), now) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "last", "start", "rate", "nodes"),
    [
        (0, 5, 0.0, 1.0, AB),
        (5, 4, 0.0, 1.0, AB),
        (1, 5, 0.0, 0.0, AB),
        (1, 5, 0.0, -1.0, AB),
        (1, 5, 0.0, float("nan"), AB),
        (1, 5, float("nan"), 1.0, AB),
        (1, 5, 0.0, 1.0, ()),
        (1, 5, 0.0, 1.0, ("a", "a")),
    ],
)
def test_a_batch_without_slots_or_nodes_is_rejected(
    first: int, last: int, start: float, rate: float, nodes: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="a batch"):
        Batch(first, last, start, rate, nodes)


@pytest.mark.parametrize(
    ("batches", "removed", "ended", "count", "expected"),
    [
        (((1, 10),), (), (), 3, [(8, 10)]),
        (((1, 10),), (), (), 10, [(1, 10)]),
        (((1, 10),), (), (), 99, [(1, 10)]),
        (((1, 10),), ((8, 10),), (), 2, [(6, 7)]),
        (((1, 10),), (), ((9, 9),), 2, [(10, 10), (8, 8)]),
        (((1, 10), (11, 12)), (), (), 4, [(11, 12), (9, 10)]),
        (((1, 10), (21, 22)), ((22, 22),), ((1, 9),), 9, [(21, 21), (10, 10)]),
        (((1, 3),), ((1, 3),), (), 1, []),
    ],
)
def test_a_removal_takes_the_highest_ids_that_are_still_there(
    batches: tuple[tuple[int, int], ...],
    removed: tuple[tuple[int, int], ...],
    ended: tuple[tuple[int, int], ...],
    count: int,
    expected: list[tuple[int, int]],
) -> None:
    of = plan(
        *(batch(first, last) for first, last in batches),
        removals=tuple(Removal(first, last, force=False) for first, last in removed),
    )
    assert highest_present(of, IdSet(ended), count) == expected


def test_computing_a_removal_does_not_change_the_ended_ids() -> None:
    ended = IdSet([(9, 9)])
    highest_present(plan(batch(1, 10), removals=(Removal(10, 10, force=True),)), ended, 5)
    assert list(ended) == [(9, 9)]


def test_a_batch_in_blocks_gives_each_node_one_stretch() -> None:
    of = plan(Batch(1, 10, 0.0, 1.0, ("a", "b", "c"), "blocks"))
    assert [owned(of, node, 1, 0) for node in "abc"] == [[1, 2, 3], [4, 5, 6], [7, 8, 9, 10]]
    few = plan(Batch(5, 6, 0.0, 1.0, ("a", "b", "c"), "blocks"))
    assert sorted(one for node in "abc" for one in owned(few, node, 2, 0)) == [5, 6]


def test_by_capacity_a_node_takes_users_as_it_has_workers() -> None:
    nodes = turn_order("capacity", {"a": 1, "b": 3})
    assert sorted(nodes) == ["a", "b", "b", "b"]
    of = plan(Batch(1, 40, 0.0, 1.0, nodes, "capacity"))
    assert [len(owned(of, node, 1, 0)) for node in "ab"] == [10, 30]
    assert [len(owned(of, "b", 3, worker)) for worker in range(3)] == [10, 10, 10]


def test_only_by_capacity_a_node_stands_several_times_in_a_batch() -> None:
    with pytest.raises(ValueError, match="a batch on the nodes"):
        Batch(1, 9, 0.0, 1.0, ("a", "a"))


def everyone(of: Plan, nodes: str, workers: int) -> list[int]:
    return sorted(
        one
        for node in nodes
        for worker in range(workers)
        for one in owned(of, node, workers, worker)
    )


NODES = "abcd"


@st.composite
def moved(draw: st.DrawFn) -> tuple[Plan, int]:
    """A plan with batches of all strategies and moves between its nodes in any order."""
    batches: tuple[Batch, ...] = ()
    moves: tuple[Move, ...] = ()
    first = 1
    for _ in range(draw(st.integers(1, 6))):
        if not batches or draw(st.booleans()):
            names = draw(st.permutations(NODES))[: draw(st.integers(1, 4))]
            strategy = draw(st.sampled_from(["round-robin", "blocks"]))
            size = draw(st.integers(1, 40))
            batches += (Batch(first, first + size - 1, 10.0, 5.0, tuple(names), strategy),)
            first += size
        else:
            sources = tuple(draw(st.permutations(NODES))[: draw(st.integers(1, 3))])
            destinations = tuple(draw(st.permutations(NODES))[: draw(st.integers(0, 3))])
            above = draw(st.sampled_from([0, first // 2]))
            moves += (Move(sources, destinations, above, 20.0, 5.0, len(batches)),)
    return Plan(batches=batches, moves=moves), draw(st.integers(1, 3))


@given(moved())
def test_after_any_moves_each_id_has_exactly_one_worker(case: tuple[Plan, int]) -> None:
    of, workers = case
    assert everyone(of, NODES, workers) == list(range(1, of.highest + 1))


@given(moved())
def test_the_shares_of_a_node_are_what_its_workers_have(case: tuple[Plan, int]) -> None:
    of, workers = case
    for node, shares in shares_of(of, NODES).items():
        mine = sorted(one for w in range(workers) for one in owned(of, node, workers, w))
        assert sorted(one for share in shares for one in share.ids) == mine


def history(of: Plan) -> list[Plan]:
    """Return the plans that led to this one: each batch and each move makes a new one."""
    found = [Plan()]
    for move in (*of.moves, None):
        upto = len(of.batches) if move is None else move.batches
        while len(found[-1].batches) < upto:
            found.append(replace(found[-1], batches=of.batches[: len(found[-1].batches) + 1]))
        if move is not None:
            found.append(replace(found[-1], moves=(*found[-1].moves, move)))
    return found


@given(moved(), st.data())
def test_following_each_plan_or_missing_some_gives_the_same_placement(
    case: tuple[Plan, int], data: st.DataObject
) -> None:
    of, workers = case
    for node in NODES:
        had: list[Share] = []
        ids: set[int] = set()
        for plan_ in history(of):
            if plan_.batches and data.draw(st.booleans()):
                continue
            have = own_shares(plan_, node, workers, 0)
            going, new = differences(had, have)
            gone = {one for some in going for one in some}
            assert gone <= ids
            ids -= gone
            assert not ids & {one for share in new for one in share.ids}
            ids |= {one for share in new for one in share.ids}
            had = have
            assert ids == {one for share in have for one in share.ids}


@given(moved(), st.integers(0, 5))
def test_unreleased_users_and_users_moved_on_do_not_start(
    case: tuple[Plan, int], which: int
) -> None:
    of, _ = case
    if not of.moves:
        return
    at = which % len(of.moves)
    held = replace(of.moves[at], start=UNRELEASED)
    plan_ = replace(of, moves=(*of.moves[:at], held, *of.moves[at + 1 :]))
    before = replace(of, batches=of.batches[: held.batches], moves=of.moves[:at])
    leaving = {
        one
        for shares in shares_of(before, held.sources).values()
        for share in shares
        for one in share.ids
        if one >= held.first
    }
    waiting = {
        one
        for shares in shares_of(plan_, NODES).values()
        for share in shares
        if share.resume == UNRELEASED
        for one in share.ids
    }
    assert waiting == leaving


def test_a_share_that_loses_its_last_ids_is_kept() -> None:
    of = plan(batch(1, 10, ("a",)))
    after = Plan(batches=of.batches, moves=(Move(("a",), ("b",), 6, 20.0, 5.0, 1),))
    going, new = differences(own_shares(of, "a", 2, 0), own_shares(after, "a", 2, 0))
    assert ([*map(list, going)], new) == ([[7, 9]], [])


def test_users_of_a_lost_node_start_on_the_others_at_the_runs_rate() -> None:
    of = plan(batch(1, 12, ("a", "b", "c")))
    moves = moves_to(of, {"b"}, ("a", "c"), IdSet([(5, 5)]), 500.0)
    after = Plan(batches=of.batches, moves=moves)
    assert owned(after, "b", 1, 0) == []
    assert owned(after, "a", 1, 0) == [1, 4, 7, 10, 2, 8]
    assert owned(after, "c", 1, 0) == [3, 6, 9, 12, 5, 11]
    starts: dict[int, float] = {}
    assert moves[0].ended == ((5, 5),)
    for node in "ac":
        _, share = own_shares(after, node, 1, 0)
        for k, one in enumerate(share.ids):
            starts[one] = share.resume + k * share.pace
    rate = after.options.user_rate
    assert [starts[one] for one in (2, 5, 8, 11)] == pytest.approx(
        [500.0 + k / rate for k in range(4)]
    )


def test_the_workers_of_a_destination_share_its_users_and_start_times() -> None:
    share = Share(batch(1, 9), range(1, 10), 0, resume=100.0, pace=2.0)
    parts = [share.of_worker(3, worker) for worker in range(3)]
    assert [list(part.ids) for part in parts] == [[1, 4, 7], [2, 5, 8], [3, 6, 9]]
    assert [(part.resume, part.pace) for part in parts] == [
        (100.0, 6.0),
        (102.0, 6.0),
        (104.0, 6.0),
    ]


def test_the_users_of_several_nodes_start_at_the_runs_rate_together() -> None:
    of = plan(batch(1, 12, ("a", "b", "c", "d")))
    moves = moves_to(of, {"d", "b", "z"}, ("c", "a"), IdSet(), 500.0)
    assert [move.sources for move in moves] == [("b", "d")]
    shares = shares_of(Plan(batches=of.batches, moves=moves), "abcd")
    assert (shares["b"], shares["d"]) == ([], [])
    got = {node: [(one.resume, list(one.ids)) for one in shares[node][1:]] for node in "ac"}
    rate = of.options.user_rate
    assert got == {
        "c": [(500.0, [2, 10]), (500.0 + 4 / rate, [8])],
        "a": [(500.0 + 1 / rate, [6]), (500.0 + 3 / rate, [4, 12])],
    }


def test_without_destinations_each_node_keeps_its_users_which_start_again_at_the_runs_rate() -> (
    None
):
    of = plan(batch(1, 6, ("a", "b")))
    moves = moves_to(of, ("b", "a"), (), IdSet(), 500.0)
    shares = shares_of(Plan(batches=of.batches, moves=moves), "ab")
    rate = of.options.user_rate
    assert [(one.resume, one.pace, list(one.ids)) for node in "ab" for one in shares[node]] == [
        (500.0, 1 / rate, [1, 3, 5]),
        (500.0 + 3 / rate, 1 / rate, [2, 4, 6]),
    ]


def test_a_node_without_users_moves_nobody() -> None:
    of = plan(batch(1, 9, ("a",)))
    assert moves_to(of, {"b"}, ("a",), IdSet(), 1.0) == ()


@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.sets(st.sampled_from(NODES), min_size=1)),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.tuples(st.integers(1, 100), st.integers(0, 30)), max_size=3),
)
def test_rebalancing_evens_out_with_as_few_moves_as_possible(
    sizes: list[tuple[int, set[str]]], gone: list[tuple[int, int]]
) -> None:
    batches: tuple[Batch, ...] = ()
    for size, nodes in sizes:
        first = batches[-1].last + 1 if batches else 1
        batches += (Batch(first, first + size - 1, 0.0, 1.0, tuple(sorted(nodes))),)
    removals = tuple(Removal(first, first + more, force=True) for first, more in gone)
    of = Plan(batches=batches, removals=removals)
    absent = {one for removal in removals for one in removal.ids}

    def present(at: Plan) -> dict[str, set[int]]:
        return {node: {*owned(at, node, 1, 0)} - absent for node in NODES}

    moves = rebalancing(of, tuple(NODES), IdSet())
    after = Plan(batches=batches, removals=removals, moves=moves)
    released = release_moves(after, IdSet(), 100.0)
    assert all(move.start >= 100.0 for move in released.moves)
    was, now = present(of), present(released)
    counts = [len(now[node]) for node in NODES]
    assert max(counts) - min(counts) <= 1
    assert everyone(released, NODES, 2) == list(range(1, of.highest + 1))
    surplus = sum(max(0, len(was[node]) - len(now[node])) for node in NODES)
    assert sum(len(was[node] - now[node]) for node in NODES) == surplus


def test_users_do_not_start_before_their_source_released_them() -> None:
    of = plan(batch(1, 10, ("a",)))
    moves = rebalancing(of, ("a", "b"), IdSet())
    held = Plan(batches=of.batches, moves=moves)
    assert [move.start for move in held.moves] == [UNRELEASED]
    (share,) = own_shares(held, "b", 1, 0)
    assert (list(share.ids), share.resume) == ([6, 7, 8, 9, 10], UNRELEASED)
    assert owned(held, "a", 1, 0) == [1, 2, 3, 4, 5]
    released = release_moves(held, IdSet([(7, 7)]), 50.0)
    (share,) = own_shares(released, "b", 1, 0)
    assert (list(share.ids), share.resume) == ([6, 7, 8, 9, 10], 50.0)
    assert released.moves[0].ended == ((7, 7),)


def test_moves_that_are_released_together_follow_one_another() -> None:
    of = plan(batch(1, 30, ("a",)))
    moves = rebalancing(of, ("a", "b", "c"), IdSet())
    released = release_moves(Plan(batches=of.batches, moves=moves), IdSet(), 50.0).moves
    rate = Plan().options.user_rate
    assert [move.start for move in released] == pytest.approx([50.0, 50.0 + 10 / rate])


@pytest.mark.parametrize("count", [1, 3, 7, 100])
def test_a_removal_of_some_nodes_takes_their_highest(count: int) -> None:
    of = plan(batch(1, 20, ("a", "b", "c")), removals=(Removal(20, 20, force=False),))
    new = removals_of(of, IdSet([(14, 14)]), count, ("b", "c"), force=True)
    taken = [one for removal in new for one in reversed(removal.ids)]
    theirs = [one for one in range(20, 0, -1) if one % 3 != 1 and one not in {20, 14}]
    assert taken == theirs[:count]
    assert all(removal.force for removal in new)


def test_the_highest_of_one_node_are_one_removal() -> None:
    of = plan(batch(1, 30_000, ("a", "b", "c")))
    assert removals_of(of, IdSet(), 5000, ("b",), force=False) == (
        Removal(15_002, 29_999, force=False, step=3),
    )


PAUSES = ((100.0, 110.0), (120.0, 125.0))


@pytest.mark.parametrize(
    ("slot", "starts"),
    [
        (99.0, 99.0),  # before them
        (100.0, 110.0),  # at the begin of the first
        (105.0, 115.0),  # in what was the first
        (110.0, 125.0),  # shifted into the second
        (200.0, 215.0),
    ],
)
def test_a_pause_shifts_all_slots_behind_its_begin(slot: float, starts: float) -> None:
    assert delayed(slot, PAUSES) == starts


def test_while_a_pause_lasts_nobody_starts_behind_its_begin() -> None:
    lasting = (*PAUSES, (130.0, UNRELEASED))
    assert delayed(114.0, lasting) == 129.0
    assert delayed(115.0, lasting) == UNRELEASED


@given(
    st.lists(st.integers(0, 1000), min_size=0, max_size=8, unique=True),
    st.integers(0, 1000),
)
def test_the_slot_of_a_time_comes_at_that_time_or_when_its_pause_ends(
    ends: list[int], now: int
) -> None:
    bounds = sorted(ends)
    pauses = tuple(zip(bounds[::2], bounds[1::2], strict=False))
    inside = [end for begin, end in pauses if begin <= now < end]
    expected = inside[0] if inside else now
    assert delayed(undelayed(now, pauses), pauses) == pytest.approx(expected, abs=1e-6)


def test_slots_stay_in_their_order_over_pauses() -> None:
    starts = [delayed(at / 10, PAUSES) for at in range(2000)]
    assert all(one <= two for one, two in pairwise(starts))
