"""The findings of the demo server from requests that carry user, iteration and number."""

from typing import NamedTuple

import pytest

from amoc_gevent.demo.iterations import FINDINGS_MAX, ITERATIONS_MAX, MISSING_MAX, IterationCheck


class Arrived(NamedTuple):
    """A request, in order of arrival. `at` is when it was sent."""

    iteration: str
    number: int
    at: float


NOTHING = {"doubled": 0, "missing": 0, "overlapping": 0, "late": 0}

CASES: dict[str, tuple[list[Arrived], dict[str, int]]] = {
    "one iteration": ([Arrived("a", 1, 1), Arrived("a", 2, 2), Arrived("a", 3, 3)], {}),
    "one iteration after the other": (
        [
            Arrived("a", 1, 1),
            Arrived("a", 2, 2),
            Arrived("b", 1, 3),
            Arrived("b", 2, 4),
            Arrived("c", 1, 5),
        ],
        {},
    ),
    "an iteration that continues after the next began": (
        [Arrived("a", 1, 1), Arrived("b", 1, 2), Arrived("a", 2, 3)],
        {"overlapping": 1},
    ),
    "two iterations in turn": (
        [
            Arrived("a", 1, 1),
            Arrived("b", 1, 2),
            Arrived("a", 2, 3),
            Arrived("b", 2, 4),
            Arrived("a", 3, 5),
        ],
        {"overlapping": 2},
    ),
    "an iteration that begins before the last request of the previous one": (
        [Arrived("a", 1, 1), Arrived("a", 2, 5), Arrived("b", 1, 4)],
        {"overlapping": 1},
    ),
    "an iteration within another": (
        [
            Arrived("a", 1, 1),
            Arrived("b", 1, 2),
            Arrived("b", 2, 3),
            Arrived("c", 1, 4),
            Arrived("a", 2, 5),
        ],
        {"overlapping": 1},
    ),
    "the network delays a request past the beginning of the next iteration": (
        [Arrived("a", 1, 1), Arrived("b", 1, 3), Arrived("a", 2, 2), Arrived("b", 2, 4)],
        {"late": 1},
    ),
    "a whole iteration arrives late": (
        [Arrived("b", 1, 3), Arrived("a", 1, 1), Arrived("a", 2, 2), Arrived("b", 2, 4)],
        {"late": 2},
    ),
    "a request is sent again": (
        [Arrived("a", 1, 1), Arrived("a", 2, 2), Arrived("a", 2, 2), Arrived("a", 3, 3)],
        {"doubled": 1},
    ),
    "a request of an older iteration is sent again": (
        [Arrived("a", 1, 1), Arrived("b", 1, 2), Arrived("a", 1, 1)],
        {"doubled": 1, "late": 1},
    ),
    "requests are lost": ([Arrived("a", 1, 1), Arrived("a", 4, 4)], {"missing": 2}),
    "the first is lost": ([Arrived("a", 2, 2)], {"missing": 1}),
    "a request overtakes another": (
        [Arrived("a", 1, 1), Arrived("a", 3, 3), Arrived("a", 2, 2)],
        {},
    ),
    "a missing request arrives twice": (
        [Arrived("a", 2, 2), Arrived("a", 1, 1), Arrived("a", 1, 1)],
        {"doubled": 1},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_counts_of_a_case(case: str) -> None:
    requests, expected = CASES[case]
    iterations = IterationCheck()
    for came in requests:
        iterations.take(7, came.iteration, came.number, came.at, 0.0)

    told = iterations.as_dict()

    assert {name: told[name] for name in NOTHING} == NOTHING | expected
    assert told["requests"] == len(requests)
    assert told["lives"] == len({came.iteration for came in requests})
    assert len(told["findings"]) == told["doubled"] + told["overlapping"]
    assert all(text.startswith("user 7: iteration ") for text in told["findings"])


def test_users_are_independent_of_each_other() -> None:
    iterations = IterationCheck()
    for at, user in enumerate([1, 2, 1, 2]):
        iterations.take(user, f"of {user}", 1 + at // 2, float(at), 0.0)

    told = iterations.as_dict()

    assert (told["users"], told["lives"]) == (2, 2)
    assert {name: told[name] for name in NOTHING} == NOTHING


def test_recently_seen_users_and_their_clients() -> None:
    iterations = IterationCheck()
    for user, now in ((3, 10.0), (1, 11.0), (2, 12.0), (3, 13.0), (1, 13.5)):
        iterations.take(user, f"at {now}", 1, now, now, f"client at {now}")

    assert iterations.seen_since(12.5) == {1: "client at 13.5", 3: "client at 13.0"}
    assert iterations.seen_since(12.0).keys() == {1, 2, 3}
    assert iterations.seen_since(13.6) == {}


def test_a_late_request_does_not_change_the_client_of_a_user() -> None:
    iterations = IterationCheck()
    iterations.take(1, "a", 1, 1.0, 1.0, "there")
    iterations.take(1, "b", 1, 3.0, 3.0, "here")
    iterations.take(1, "a", 2, 2.0, 4.0, "there")

    assert iterations.as_dict()["late"] == 1
    assert iterations.seen_since(0.0) == {1: "here"}
    assert iterations.seen_since(3.5) == {}


def test_memory_is_bounded() -> None:
    iterations = IterationCheck()
    for iteration in range(10 * ITERATIONS_MAX):
        iterations.take(1, str(iteration), 1, float(iteration), 0.0)
    iterations.take(2, "a", 10 * MISSING_MAX, 1.0, 0.0)
    for number in range(1, 10 * MISSING_MAX):
        iterations.take(2, "a", number, 1.0, 0.0)
    assert {name: iterations.as_dict()[name] for name in NOTHING} == NOTHING

    for _ in range(10 * FINDINGS_MAX):
        iterations.take(2, "a", 1, 1.0, 0.0)

    assert len(iterations._users[1].iterations) == ITERATIONS_MAX
    told = iterations.as_dict()
    assert (told["doubled"], len(told["findings"])) == (10 * FINDINGS_MAX, FINDINGS_MAX)
