"""What people see of an answer: a line for what was done, aligned columns for lists."""

from typing import Any

import pytest

from amoc_gevent.cli.steering import formatting as texts
from amoc_gevent.core.answer_types import answer_type
from amoc_gevent.core.json_codec import from_json

STATUS = {
    "run": "5f0c2a9b7d1e",
    "scenario": "shop",
    "status": "running",
    "elapsed_s": 12.5,
    "nodes": 3,
    "workers": 6,
    "users": {"waiting": 1000, "running": 20, "resting": 3, "done": 0},
    "failure": None,
    "failure_detail": "",
    "operations": {
        "GET /": {"count": 12345, "errors": 6, "p50_us": 1234, "p95_us": 5678},
        "POST /a/long/name": {"count": 1, "errors": 0, "p50_us": 10, "p95_us": 10},
    },
    "errors": [{"type": "ValueError", "place": "shop.py:3", "count": 2}],
}
NODE = {
    "name": "one",
    "state": "ready",
    "workers": 2,
    "users": {"waiting": 0, "running": 1200, "resting": 7, "done": 3},
    "heard_s": 0.4,
    "place": "host-one:/var/lib/amoc",
    "clock_offset_us": -1500,
    "clock_bound_us": 240,
    "cpu": 0.257,
    "lag_us": 1800,
}
RUN = {
    "run": "5f0c2a9b7d1e",
    "scenario": "shop",
    "status": "finished",
    "started": "2026-11-29T02:00:00.250+00:00",
    "ended": "2026-11-29T02:01:30.250+00:00",
    "users": 1200,
    "operations": 1234567,
    "comment": "before the fix",
}


def shown(verb: str, result: dict[str, Any], width: int | None = None) -> str:
    """Return the text of the JSON object that answers `verb`."""
    return texts.format_answer(from_json(answer_type(verb, result), result), width=width)


def test_one_is_one() -> None:
    error = {"type": "ValueError", "place": "shop.py:3", "count": 1}
    last = shown("status", {**STATUS, "errors": [error]}).splitlines()[-1]
    assert shown("do", {"run": "5f0c", "users": 1}) == "run 5f0c: 1 user"
    assert shown("remove", {"removed": 1}) == "removed 1 user"
    assert last == "failed users: 1 time ValueError at shop.py:3"


@pytest.mark.parametrize(
    ("verb", "result", "text"),
    [
        ("do", {"run": "5f0c", "users": 1000000}, "run 5f0c: 1,000,000 users"),
        ("add", {"first": 11, "last": 20}, "added users 11 to 20"),
        ("remove", {"removed": 5, "asked": 5}, "removed 5 users"),
        ("remove", {"removed": 25, "asked": 999}, "removed 25 users of 999: there were no more"),
        ("set", {"pages": "2"}, "pages = 2"),
        ("pause", {"run": "5f0c", "paused": True}, "run 5f0c is paused: no new users start"),
        ("resume", {"run": "5f0c", "paused": False}, "run 5f0c starts users again"),
        ("rebalance", {"run": "5f0c", "moves": 0}, "run 5f0c: its users are spread evenly alre"),
        ("rebalance", {"run": "5f0c", "moves": 3}, "run 5f0c: its users are being spread evenly"),
        ("stop", {"run": "5f0c", "status": "stopping", "force": False}, "run 5f0c is stopping"),
        (
            "stop",
            {"run": "5f0c", "status": "stopping", "force": True},
            "run 5f0c is stopping by force",
        ),
        ("status", {"status": "idle", "nodes": 1}, "idle, 1 node: start a run with `do SCENARIO"),
        ("status", {"status": "idle", "nodes": 0}, "idle, 0 nodes"),
        (
            "nodes",
            {"nodes": []},
            "no node has joined: start one here with `amoc node`, on another machine with ",
        ),
        ("runs", {"runs": []}, "there was no run yet"),
        ("summary", {"report": "\nshop finished\n\n"}, "shop finished"),
    ],
)
def test_an_answer_is_a_sentence(verb: str, result: dict[str, Any], text: str) -> None:
    assert shown(verb, result).startswith(text)


def test_a_description_is_a_docstring_names_and_a_row_for_each_setting() -> None:
    url = {"name": "url", "default": "", "unit": "", "type": "str", "allowed": [], "update": True}
    described = {"run": "5f0c", "name": "shop", "docstring": "Buys.", "callbacks": ["init()"]}
    assert shown("describe", described).splitlines()[-1] == "It declares no settings."
    described |= {"operations": ["GET /"], "settings": [{**url, "description": "the shop"}]}
    assert shown("describe", described).splitlines() == [
        "shop",
        "",
        "Buys.",
        "",
        "Callbacks: init()",
        "Operations: GET /",
        "",
        "setting  type  default  changes  description",
        'url      str   ""       yes      the shop',
    ]


def test_a_status_is_a_head_the_operations_and_what_failed() -> None:
    assert shown("status", STATUS).splitlines() == [
        (
            "shop running, 12.5 s on 6 workers of 3 nodes; "
            "users: 20 running, 3 resting, 1,000 waiting, 0 done"
        ),
        "operation          count  errors  p50 ms  p95 ms",
        "GET /              12345       6    1.23    5.68",
        "POST /a/long/name      1       0    0.01    0.01",
        "failed users: 2 times ValueError at shop.py:3",
    ]


@pytest.mark.parametrize(
    ("nodes", "workers", "where"),
    [(1, 2, "on 2 workers;"), (2, 1, "on 1 worker of 2 nodes;"), (1, 0, "on 1 node;")],
)
def test_a_status_says_on_what_it_runs(nodes: int, workers: int, where: str) -> None:
    assert where in shown("status", {**STATUS, "nodes": nodes, "workers": workers})


def test_texts_from_other_machines_are_escaped() -> None:
    error = {"type": "E\x1b[2J", "place": "a\nb", "count": 1}
    operations = {"GET \u202e/": STATUS["operations"]["GET /"]}
    lines = shown("status", {**STATUS, "operations": operations, "errors": [error]}).splitlines()
    assert lines[2].startswith("GET \\u202e/ ")
    assert lines[3:] == ["failed users: 1 time E\\x1b[2J at a\\nb"]
    described = {"run": "1", "name": "s\n", "docstring": "Buys.\n\nTea\x07.", "callbacks": []}
    assert shown("describe", described).startswith("s\\n\n\nBuys.\n\nTea\\x07.\n")


def test_a_report_keeps_its_colours_and_no_other_escape_sequence() -> None:
    report = "\x1b[1mshop\x1b[0m\n\x1b]0;title\x07"
    assert shown("summary", {"report": report}) == "\x1b[1mshop\x1b[0m\n\\x1b]0;title\\x07"


def test_a_paused_status_says_so() -> None:
    assert shown("status", {**STATUS, "paused": True}).startswith("shop running, paused, 12.5 s on")


def test_a_failed_status_says_why() -> None:
    assert shown("status", {**STATUS, "failure": "init raised"}).endswith("\nfailed: init raised")


def test_a_nodes_status_says_where_it_belongs() -> None:
    status = {"kind": "node", "name": "one", "workers": 1, "master": "m", "state": "stopped"}
    assert shown("status", {**status, "joined": True}) == (
        "node one, 1 worker: joined master m, idle"
    )
    assert "waiting for master m" in shown("status", {**status, "joined": False})


def test_nodes_are_rows_and_what_is_not_known_is_a_dash() -> None:
    bare = {"name": "longer-name", "state": "lost"}
    head, first, second = shown("nodes", {"nodes": [NODE, bare]}).splitlines()
    assert head.split() == [
        *("node", "state", "heard", "workers", "running", "resting", "waiting", "done"),
        *("CPU", "lag", "clock", "host"),
    ]
    assert first.split("  ")[0] == "one"
    assert " 0.4 s ago " in first
    assert " 1,200 " in first
    assert " 26% " in first
    assert "-1.50 ms ±240 µs" in first
    assert second.split() == ["longer-name", "lost", "-", "-", "0", "0", "0", "0", *["-"] * 4]
    assert first.endswith("  host-one")
    assert first.index("host-one") == second.rindex("-")


def test_runs_are_rows_with_when_and_how_long() -> None:
    goes_on = {**RUN, "run": "7a", "status": "running", "ended": None, "comment": ""}
    head, first, second = shown("runs", {"runs": [goes_on, RUN]}).splitlines()
    assert head.split()[:5] == ["run", "scenario", "status", "started", "took"]
    assert "2026-11-29 02:00:00" in first
    assert first.split()[5] == "-"
    assert " 1m 30s " in second
    assert "1,234,567" in second
    assert second.endswith("  before the fix")


def test_a_comment_is_cropped_to_the_width_of_the_terminal() -> None:
    runs = {"runs": [{**RUN, "comment": "before the fix of the shop's cart"}]}
    head, row = shown("runs", runs, 100).splitlines()
    assert len(row) == 100
    assert row.endswith("  before the fix of…")
    assert head.endswith("  comment")
    assert row.replace("…", "") in shown("runs", runs)


def test_a_narrow_terminal_has_the_comment_below_its_run() -> None:
    lasting = {**RUN, "scenario": "shop_with_a_long_name", "users": 2692}
    runs = {"runs": [lasting, {**RUN, "comment": ""}]}
    head, first, comment, second = shown("runs", runs, 80).splitlines()
    assert first == (
        "5f0c2a9b7d1e  shop_wi…  finished  2026-11-29 02:00:00  1m 30s  2,692   1,234,567"
    )
    assert comment == "  before the fix"
    assert len(head) == len(second) == len(first) == 80
    assert max(map(len, shown("runs", runs, 40).splitlines())) == 40


def test_a_narrow_terminal_lacks_the_last_columns_of_nodes() -> None:
    nodes = {"nodes": [NODE]}
    for width, last in ((120, "host"), (100, "clock"), (80, "lag")):
        lines = shown("nodes", nodes, width).splitlines()
        assert lines[0].split()[-1] == last
        assert max(map(len, lines)) <= width
