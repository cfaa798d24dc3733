"""Each verb has one answer, which survives JSON unchanged."""

import json
from typing import Any

import pytest

from amoc_gevent.core.answer_types import answer_type
from amoc_gevent.core.answers import (
    Added,
    Answer,
    Changed,
    Description,
    Ending,
    IdleStatus,
    MasterDaemon,
    NodeDaemon,
    NodeLine,
    NodeList,
    NodeStatus,
    Pausing,
    Rebalanced,
    Removed,
    RunLine,
    RunList,
    RunStatus,
    Started,
    Stopping,
    TextReport,
    UsersByState,
    WatchedLines,
    WatchedStatus,
)
from amoc_gevent.core.json_codec import as_json, from_json
from amoc_gevent.core.manifest import DeclaredSetting
from amoc_gevent.core.run.status import status_of
from amoc_gevent.core.run_summary import SummaryAnswer
from amoc_gevent.output.summary import summary_of
from tests.output.runs import full_run, run_of

STATUS = status_of(full_run(), 2, 0.0)
assert isinstance(STATUS, RunStatus)
NODE_STATUS = NodeStatus(
    kind="node", master="m", name="n", workers=2, state="ready", joined=True, run="5f", refused="no"
)
URL = DeclaredSetting("url", "http://a", "", "str", "the shop", ("http://a",), update=True)
ANSWERS: list[tuple[str, Answer]] = [
    ("do", Started("5f", 10)),
    ("add", Added(1, 2)),
    ("remove", Removed(3, 5)),
    ("set", Changed("pages", "2")),
    ("pause", Pausing("5f", paused=True)),
    ("resume", Pausing("5f", paused=False)),
    ("rebalance", Rebalanced("5f", 2)),
    ("stop", Stopping("5f", "stopping", force=True)),
    ("status", IdleStatus("idle", 2)),
    ("status", STATUS),
    ("status", NODE_STATUS),
    ("describe", Description(run="5f", name="shop", settings=(URL,), operations=("GET /",))),
    ("nodes", NodeList((NodeLine("n", "lost"), NodeLine("m", "ready", cpu=0.5, lag_us=3)))),
    ("runs", RunList((RunLine("5f", "shop", "lost", "2026-11-29T02:00:00.250+00:00"),))),
    ("summary", SummaryAnswer(summary_of(full_run()))),
    ("summary", TextReport("shop finished")),
    ("watch", WatchedStatus(STATUS)),
    ("watch", WatchedStatus(STATUS, "5f", "failed")),
    ("watch", WatchedLines(("a", "b"))),
    ("watch", WatchedLines((), "5f", "finished")),
    ("daemon", NodeDaemon("node", 42, "1.0", "/home", None, 1.5)),
    ("daemon", MasterDaemon("master", 42, "1.0", "/home", "/log", 1.5, ("a", "b"), "5f")),
    ("shutdown", Ending("master", 42)),
]


@pytest.mark.parametrize(("verb", "answer"), ANSWERS)
def test_an_answer_survives_json_unchanged(verb: str, answer: Answer) -> None:
    data: dict[str, Any] = json.loads(json.dumps(as_json(answer)))
    kind = answer_type(verb, data)
    assert kind is type(answer)
    assert from_json(kind, data) == answer


def test_a_changed_setting_is_an_object_keyed_by_its_name() -> None:
    assert as_json(Changed("pages", "2")) == {"pages": "2"}


@pytest.mark.parametrize("data", [{}, {"a": "1", "b": "2"}, {"a": 1}])
def test_malformed_setting_is_rejected(data: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        from_json(Changed, data)


def test_only_the_last_part_of_a_stream_has_the_final_status() -> None:
    assert as_json(WatchedLines(("a",))) == {"lines": ["a"]}
    assert as_json(WatchedLines((), "5f", "failed")) == {
        "lines": [],
        "run": "5f",
        "ended": "failed",
    }


def test_a_status_has_its_documented_fields_in_their_order() -> None:
    found = as_json(status_of(run_of(), 1, 0.0))
    assert [*found] == [
        *("run", "scenario", "status", "paused", "comment", "elapsed_s", "nodes", "workers"),
        *("users", "failure", "failure_detail", "failure_usage", "operations", "errors"),
    ]
    assert found["users"] == as_json(UsersByState(1, 2, 3, 4))
    operation = as_json(STATUS)["operations"]["GET /"]
    assert [*operation] == ["count", "errors", "interrupted", "p50_us", "p95_us"]
