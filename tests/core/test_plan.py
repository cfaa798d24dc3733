"""The plan: who owns which id, when each user starts, and whom a removal takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.plan import (
    UNRELEASED,
    Batch,
    Plan,
    Removal,
    highest_present,
    next_slot,
    own_ids,
    rotated,
)

AB = ("a", "b")


def batch(first: int, last: int, nodes: tuple[str, ...] = ("a",), rate: float = 10.0) -> Batch:
    return Batch(first, last, 100.0, rate, nodes)


def plan(*batches: Batch, removals: tuple[Removal, ...] = ()) -> Plan:
    return Plan(batches=batches, removals=removals)


def owned(of: Plan, node: str, workers: int, worker: int) -> list[int]:
    return [one for _, ids in own_ids(of, node, workers, worker) for one in ids]


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


def test_a_node_that_is_in_no_batch_owns_nobody() -> None:
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
def test_a_batch_without_slots_or_places_cannot_be(
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


def test_whom_a_removal_takes_leaves_the_set_of_ended_ids_as_it_was() -> None:
    ended = IdSet([(9, 9)])
    highest_present(plan(batch(1, 10), removals=(Removal(10, 10, force=True),)), ended, 5)
    assert list(ended) == [(9, 9)]
