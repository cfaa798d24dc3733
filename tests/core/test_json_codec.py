"""Answers as JSON and back: names, order, what may be missing, and what is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from amoc_gevent.core.json_codec import as_json, from_json


@dataclass(frozen=True)
class Inner:
    """A part."""

    number: int
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    """Something of each kind."""

    sender: str = field(metadata={"json": "from"})
    kind: Literal["a", "b"]
    inner: Inner
    several: tuple[Inner, ...]
    two: tuple[str, str] | None
    named: Mapping[str, Inner]
    end: str | None = field(default=None, metadata={"omit": True})


OUTER = Outer("x", "a", Inner(1), (Inner(2, 2.0),), ("p", "q"), {"n": Inner(3)})
JSON = {
    "from": "x",
    "kind": "a",
    "inner": {"number": 1, "share": 0.5},
    "several": [{"number": 2, "share": 2.0}],
    "two": ["p", "q"],
    "named": {"n": {"number": 3, "share": 0.5}},
}


def test_a_dataclass_is_an_object_in_the_order_of_its_fields_and_comes_back() -> None:
    assert as_json(OUTER) == JSON
    assert [*as_json(OUTER)] == [*JSON]
    assert from_json(Outer, JSON) == OUTER


def test_fields_with_defaults_may_be_missing_and_unknown_ones_are_ignored() -> None:
    data = {**JSON, "inner": {"number": 1}, "more": [], "end": "now"}
    found = from_json(Outer, data)
    assert (found.inner, found.end) == (Inner(1), "now")
    assert as_json(found)["end"] == "now"


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"from": 1}, TypeError, "1 instead of str"),
        ({"kind": "c"}, TypeError, "'c' instead of one of"),
        ({"kind": []}, TypeError, "instead of one of"),
        ({"inner": None}, TypeError, "None instead of an object"),
        ({"inner": {"number": True}}, TypeError, "True instead of int"),
        ({"inner": {"number": 1.0}}, TypeError, "1.0 instead of int"),
        ({"inner": {"number": 1, "share": "x"}}, TypeError, "'x' instead of float"),
        ({"inner": {}}, KeyError, "number"),
        ({"several": {}}, TypeError, "instead of an array"),
        ({"two": ["p"]}, TypeError, "instead of an array"),
        ({"named": []}, TypeError, "instead of an object"),
    ],
)
def test_missing_and_mistyped_fields_are_rejected(
    changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said.replace("(", r"\(")):
        from_json(Outer, {**JSON, **changes})
