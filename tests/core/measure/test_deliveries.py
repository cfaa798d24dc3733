"""The balance of messages between two users, against a model of a faulty network."""

from dataclasses import replace

import pytest

from amoc_gevent.core.measure.deliveries import (
    Balance,
    Flow,
    balance,
    balances,
    counters,
    key_of,
    total_balance,
)


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        # all that was sent has come
        (Flow(sent=5, delivered=5, highest=5), Balance(sent=5, delivered=5)),
        # the third has not, though the fourth has: it is lost; the fifth may be on its way
        (Flow(sent=5, delivered=3, highest=4), Balance(5, 3, lost=1, on_the_way=1)),
        # the sender waited for the fifth, too
        (Flow(sent=5, settled=5, delivered=3, highest=4), Balance(5, 3, lost=2)),
        # it waited for the fourth only, which came
        (Flow(sent=5, settled=4, delivered=4, highest=4), Balance(5, 4, on_the_way=1)),
        # nobody is there
        (Flow(sent=5), Balance(5, on_the_way=5)),
        # two came back, so those are lost whatever else is on its way
        (Flow(sent=5, bounced=2), Balance(5, lost=2, on_the_way=3, bounced=2)),
        # one of the lost has come back: it is lost once
        (Flow(sent=3, delivered=2, highest=3, bounced=1), Balance(3, 2, lost=1, bounced=1)),
        # the sender's worker died before it could tell of its last two
        (Flow(sent=3, delivered=5, highest=5), Balance(5, 5)),
        (
            Flow(sent=4, delivered=4, highest=4, duplicated=2, reordered=1, delayed=3),
            Balance(4, 4, duplicated=2, reordered=1, delayed=3),
        ),
    ],
)
def test_each_message_is_delivered_lost_or_on_the_way(flow: Flow, expected: Balance) -> None:
    found = balance(flow)
    assert found == expected
    assert found.sent == found.delivered + found.lost + found.on_the_way


def test_counts_of_sender_and_receiver_are_combined_over_seconds_and_workers() -> None:
    parts = [
        Flow(sent=3),
        Flow(delivered=2, highest=3),
        Flow(sent=4, settled=7),
        Flow(delivered=3, highest=7, reordered=1, duplicated=1),
    ]
    for order in ((0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)):
        merged = Flow()
        for index in order:
            merged.merge(parts[index])
        assert balance(merged) == Balance(7, 5, lost=2, reordered=1, duplicated=1)
    assert parts[0] == Flow(sent=3)


def test_restarted_numbering_is_a_new_count_of_the_same_pair() -> None:
    flows = {
        key_of("a@x", "b@x", "one"): Flow(sent=9, delivered=9, highest=9),
        key_of("a@x", "b@x", "two"): Flow(sent=2, delivered=1, highest=2),
        key_of("b@x", "a@x", "two"): Flow(sent=1),
    }
    found, strays = balances(flows)
    assert found == {
        ("a@x", "b@x"): Balance(11, 10, lost=1),
        ("b@x", "a@x"): Balance(1, on_the_way=1),
    }
    assert strays == 0
    assert total_balance(found.values()) == Balance(12, 10, lost=1, on_the_way=1)


def test_messages_not_sent_in_the_run_are_not_in_the_balance() -> None:
    flows = {key_of("a@x", "b@x", "earlier"): Flow(delivered=4, highest=9, delayed=4)}
    assert balances(flows) == ({}, 4)


@pytest.mark.parametrize(
    ("change", "even"),
    [({}, True), ({"delivered": 2}, False), ({"duplicated": 1}, False), ({"reordered": 1}, False)],
)
def test_a_pair_is_even_if_each_message_came_once_and_in_order(
    change: dict[str, int], even: bool
) -> None:
    assert balance(replace(Flow(sent=3, delivered=3, highest=3), **change)).even is even


def test_counters_are_the_sums_over_all_pairs_without_zeros() -> None:
    assert counters([Flow(sent=2, delivered=1), Flow(sent=3, duplicated=1)]) == {
        "messages sent": 5,
        "messages delivered": 1,
        "messages duplicated": 1,
    }
