"""Commands parsed from JSON, and a one-line error for each invalid request."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amoc_gevent.control.requests import command_of, name_of
from amoc_gevent.core.run.commands import (
    Add,
    Command,
    Describe,
    Do,
    Nodes,
    Pause,
    Rebalance,
    Remove,
    Resume,
    Runs,
    Set,
    Status,
    Stop,
    Summary,
)
from amoc_gevent.core.run.plan import Options
from amoc_gevent.errors import UsageError

DO = {"command": "do", "scenario": "hello", "first": 1, "last": 9}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (DO, Do("hello", 1, 9)),
        (
            {
                **DO,
                "settings": {"url": "x"},
                "options": {"user_rate": "60/min", "repeat_num": "2", "on_user_error": "stop"},
                "duration": "1m30s",
                "comment": "why",
            },
            Do(
                "hello",
                1,
                9,
                {"url": "x"},
                Options(user_rate=1.0, repeat_num=2, on_user_error="stop"),
                90.0,
                "why",
            ),
        ),
        ({**DO, "duration": None}, Do("hello", 1, 9)),
        (
            {**DO, "nodes": ["b", "a"], "strategy": "blocks"},
            Do("hello", 1, 9, nodes=("b", "a"), strategy="blocks"),
        ),
        ({"command": "add", "count": 1, "nodes": ["a"]}, Add(1, ("a",))),
        ({"command": "remove", "count": 1, "nodes": ["a"]}, Remove(1, nodes=("a",))),
        ({"command": "pause"}, Pause()),
        ({"command": "resume"}, Resume()),
        ({"command": "rebalance"}, Rebalance()),
        ({"command": "nodes"}, Nodes()),
        ({"command": "runs"}, Runs()),
        ({"command": "summary"}, Summary()),
        ({"command": "summary", "run": "5f0c"}, Summary("5f0c")),
        (
            {"command": "summary", "form": "text", "width": 77, "colour": True},
            Summary(form="text", width=77, colour=True),
        ),
        ({"command": "add", "count": 10}, Add(10)),
        ({"command": "remove", "count": 3}, Remove(3, force=False)),
        ({"command": "remove", "count": 3, "force": True}, Remove(3, force=True)),
        ({"command": "set", "name": "pause", "value": "1s"}, Set("pause", "1s")),
        ({"command": "stop"}, Stop(force=False)),
        ({"command": "stop", "force": True}, Stop(force=True)),
        ({"command": "status"}, Status()),
        ({"command": "describe"}, Describe()),
    ],
)
def test_each_verb_becomes_its_command(request_: dict[str, object], expected: Command) -> None:
    assert command_of(request_) == expected


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ([], "a request is an object"),
        ("stop", "a request is an object"),
        (None, "a request is an object"),
        ({}, "one of: do, add, remove, set, pause, resume, rebalance, stop, status"),
        ({**DO, "nodes": "a"}, "do: nodes must be a list of texts, not 'a'"),
        ({**DO, "nodes": ["a", 5]}, "do: nodes: 5 is not the name of a node"),
        ({**DO, "nodes": ["a", "b", "a"]}, "do: nodes: a is named twice"),
        ({**DO, "strategy": 1}, "do: strategy must be text, not 1"),
        ({"command": "add", "count": 1, "nodes": [[]]}, "add: nodes: [] is not the name"),
        ({"command": "summary", "run": 5}, "summary: run must be text, not 5"),
        ({"command": "summary", "width": "wide"}, "summary: width must be a whole number"),
        ({"command": "jump"}, "one of: do, add"),
        ({"command": ["do"]}, "one of: do, add"),
        ({"command": {}}, "one of: do, add"),
        ({"command": "do", "first": 1, "last": 2}, "do: scenario is missing"),
        ({"command": "do", "scenario": "x", "last": 2}, "do: first is missing"),
        ({**DO, "first": "1"}, "do: first must be a whole number, not '1'"),
        ({**DO, "first": True}, "do: first must be a whole number, not True"),
        ({**DO, "last": 2**70}, "do: last must be 9007199254740992 at most"),
        ({"command": "remove", "count": 10**30}, "remove: count must be 9007199254740992 at most"),
        ({**DO, "last": 1.5}, "do: last must be a whole number, not 1.5"),
        ({**DO, "scenario": 5}, "do: scenario must be text, not 5"),
        ({**DO, "settings": ["url"]}, "do: settings must be an object of texts"),
        ({**DO, "settings": {"n": 5}}, "do: settings: n must be text, not 5"),
        ({**DO, "options": {"user_rate": "0/s"}}, "user_rate: '0/s' is not a rate"),
        ({**DO, "options": {"user_rate": 5}}, "do: options: user_rate must be text"),
        ({**DO, "options": {"speed": "5"}}, "there is no option speed"),
        ({**DO, "duration": "soon"}, "do: duration: 'soon' is not a time"),
        ({**DO, "duration": 30}, "do: duration must be text, not 30"),
        ({**DO, "comment": 1}, "do: comment must be text, not 1"),
        ({"command": "add"}, "add: count is missing"),
        ({"command": "add", "count": None}, "add: count must be a whole number"),
        ({"command": "remove", "count": 1, "force": "yes"}, "remove: force must be true or false"),
        ({"command": "set", "name": "x"}, "set: value is missing"),
        ({"command": "set", "name": "x", "value": 1}, "set: value must be text"),
        ({"command": "stop", "force": 1}, "stop: force must be true or false"),
    ],
)
def test_each_invalid_request_is_a_usage_error_with_its_reason(request_: object, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        command_of(request_)
    assert said in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = "do add remove set pause resume rebalance stop status nodes runs summary"
VERBS = st.sampled_from(NAMES.split(" "))
FIELD_NAMES = "scenario first last settings options duration count force name nodes strategy run"
FIELDS = st.sampled_from(FIELD_NAMES.split(" "))


# The first example in a new clone is slow, as hypothesis builds its table of characters.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(VERBS, st.dictionaries(FIELDS, json_values))
def test_any_request_is_a_command_or_a_usage_error(verb: str, fields: dict[str, object]) -> None:
    try:
        command = command_of({"command": verb, **fields})
    except UsageError:
        return
    assert type(command).__name__.lower() == verb


def test_the_error_lists_the_services_too() -> None:
    with pytest.raises(UsageError, match=r"status, describe, nodes, runs, summary, watch$"):
        command_of({"command": "jump"}, ["watch", "status"])


@unhurried
@given(json_values)
def test_any_json_has_a_name_or_none(request: object) -> None:
    assert isinstance(name_of(request), str)
