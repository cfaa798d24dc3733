"""What the prompt offers: verbs first, then what may follow the words that are there."""

import pytest

from amoc_gevent.cli.steering.completion import Words, candidates

WORDS = Words(
    lambda: ["http_hello", "http_shop", "xmpp_chat"],
    lambda verb: {"nodes": ["east", "west", "wide"], "runs": ["5f0c", "7a11"]}[verb],
    lambda scenario: {"http_shop": ["url", "think"], "": ["think"]}.get(scenario, []),
)


@pytest.mark.parametrize(
    ("text", "length", "found"),
    [
        ("re", 2, ["remove", "resume", "rebalance"]),
        ("status", 6, []),
        ("do http", 4, ["http_hello", "http_shop"]),
        ("do http_shop ", 0, []),
        ("do http_shop 1 1", 1, []),
        ("do http_shop 1 10 --str", 5, ["--strategy"]),
        ("do http_shop 1 10 --strategy b", 1, ["blocks"]),
        ("do shop 1 2 --on-user-error r", 1, ["repeat", "remove"]),
        ("add 5 --nodes w", 1, ["west", "wide"]),
        ("add 5 --nodes west,", 0, ["east", "wide"]),
        ("add 5 --nodes west,e", 1, ["east"]),
        ("remove 5 --f", 3, ["--force"]),
        ("summary ", 0, ["5f0c", "7a11"]),
        ("set user", 4, ["user_rate"]),
        ("set th", 2, ["think"]),
        ("set ur", 2, []),
        ("do http_shop 1 10 --set ", 0, ["url=", "think="]),
        ("do http_shop 1 10 --set think=1s --set u", 1, ["url="]),
        ("do --set ", 0, []),
        ("help sum", 3, ["summary"]),
        ("nonsense ", 0, []),
    ],
)
def test_what_may_come_next(text: str, length: int, found: list[str]) -> None:
    assert candidates(text, WORDS) == (length, found)


def test_an_empty_line_has_every_verb() -> None:
    _, found = candidates("", WORDS)
    assert {"do", "nodes", "watch", "help", "exit"} <= {*found}


def test_flags_are_offered_after_the_ids_of_do() -> None:
    _, found = candidates("do http_shop 1 10 ", WORDS)
    assert {"--nodes", "--strategy", "--user-rate", "--no-wait"} <= {*found}
