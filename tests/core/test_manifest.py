"""The manifest: its bounds, its encoding, and which manifests agree."""

from dataclasses import replace
from typing import Any

import msgpack
import pytest

from amoc_gevent.core import codec
from amoc_gevent.core.json_codec import as_json
from amoc_gevent.core.manifest import (
    CHARACTERS_MAX,
    ENTRIES_MAX,
    Declared,
    DeclaredSetting,
    DisagreementError,
    Manifest,
    reconcile,
)
from amoc_gevent.core.run.status import description_of
from tests.output.runs import full_run

URL = DeclaredSetting("url", "http://a", "", "str", "the shop", (), update=False)
MODE = DeclaredSetting("mode", "fast", "", "str", "how", ("fast", "slow"), update=True)
SHOP = Manifest("shop", "Buys.", ("init()", "start(user_id)"), (URL, MODE), ("GET /",))


def disagreement(one: Manifest, other: Manifest) -> str:
    """Return the line that says how two manifests differ; "" where they agree."""
    try:
        reconcile(Declared(one, "node a"), Declared(other, "node b"))
    except DisagreementError as error:
        return str(error)
    return ""


def test_a_manifest_survives_encoding() -> None:
    whole = replace(SHOP, profile="ramp", throttles=("t",), expectations=("e",), feeders=("f",))
    assert codec.decode(Manifest, codec.encode(whole)) == whole


def test_unused_fields_are_empty() -> None:
    assert (SHOP.profile, SHOP.throttles, SHOP.expectations, SHOP.feeders) == ("", (), (), ())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"settings": (URL,) * (ENTRIES_MAX + 1)}, "1,001 settings; at most 1,000"),
        ({"feeders": ("x",) * (ENTRIES_MAX + 1)}, "1,001 feeders; at most 1,000"),
        ({"docstring": "x" * (CHARACTERS_MAX + 1)}, "at most 250,000"),
        ({"settings": (replace(URL, default="x" * CHARACTERS_MAX),)}, "at most 250,000"),
        ({"settings": (replace(URL, allowed=("x" * 500,) * 501),)}, "at most 250,000"),
    ],
)
def test_a_manifest_that_is_too_large_is_rejected_when_made_and_when_decoded(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        replace(SHOP, **changes)
    fields = {name: getattr(SHOP, name) for name in Manifest.__slots__}
    settings = [
        [getattr(one, name) for name in DeclaredSetting.__slots__]
        for one in changes.get("settings", SHOP.settings)
    ]
    row = [*({**fields, **changes, "settings": settings}).values()]
    with pytest.raises(ValueError, match=says):
        codec.decode(Manifest, msgpack.packb(row))


def test_operations_are_added_as_far_as_there_is_room() -> None:
    assert SHOP.with_operations(["b", "GET /", "a"]).operations == ("GET /", "a", "b")
    many = SHOP.with_operations(map(str, range(2 * ENTRIES_MAX)))
    assert len(many.operations) == ENTRIES_MAX
    assert SHOP.with_operations(["x" * CHARACTERS_MAX]) == SHOP


def test_it_is_plain_data_for_json() -> None:
    data = as_json(description_of(full_run(), SHOP))
    assert (data["name"], data["callbacks"]) == ("shop", ["init()", "start(user_id)"])
    settings: Any = data["settings"]
    assert settings[1]["allowed"] == ["fast", "slow"]
    assert "value" not in settings[0]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"settings": (replace(URL, default="b"), MODE)},
         "setting url: default 'http://a' on node a, 'b' on node b"),
        ({"settings": (URL, replace(MODE, allowed=("fast",)))},
         "setting mode: allowed 'fast, slow' on node a, 'fast' on node b"),
        ({"settings": (URL, replace(MODE, update=False))},
         "setting mode: update 'True' on node a, 'False' on node b"),
        ({"settings": (URL,)}, "setting mode is declared only on node a"),
        ({"settings": (URL, MODE, replace(URL, name="extra"))},
         "setting extra is declared only on node b"),
        ({"scenario": "chat"}, "scenario 'shop' on node a, 'chat' on node b"),
        ({"callbacks": ("init()",)}, "callbacks 'init(), start(user_id)' on node a, 'init()' on"),
        ({"docstring": "Sells.\n\x1b[2J"}, r"docstring 'Buys.' on node a, 'Sells.\n\x1b[2J' on"),
        ({"throttles": ("login 5/s",)}, "throttles '' on node a, 'login 5/s' on node b"),
        ({"profile": "p"}, "profile '' on node a"),
        ({"expectations": ("e",)}, "expectations '' on node a"),
        ({"feeders": ("f",)}, "feeders '' on node a"),
    ],
)  # fmt: skip
def test_a_disagreement_is_one_line_that_says_what_differs_where_and_what_to_do(
    other: dict[str, Any], says: str
) -> None:
    line = disagreement(SHOP, replace(SHOP, **other))
    assert line.startswith("node b and node a loaded different declarations of scenario shop")
    assert says in line
    assert "--set" in line
    assert line.isprintable()


@pytest.mark.parametrize(
    "other",
    [
        SHOP,
        replace(SHOP, operations=("GET /cart",)),
        replace(SHOP, settings=(MODE, URL)),
    ],
)
def test_neither_order_nor_operations_are_a_disagreement(other: Manifest) -> None:
    assert disagreement(SHOP, other) == ""


def test_the_address_of_an_object_is_no_disagreement() -> None:
    one, other = (
        replace(SHOP, settings=(replace(URL, default=f"<shop.Mix object at 0x{n}>"),))
        for n in ("7f01", "7f02")
    )
    assert disagreement(one, other) == ""


def test_a_long_text_is_cut_in_the_line() -> None:
    other = replace(SHOP, settings=(replace(URL, default="b" * 10_000), MODE))
    assert len(disagreement(SHOP, other)) < 500


def test_the_first_manifest_stays_with_the_operations_of_all() -> None:
    first = reconcile(None, Declared(SHOP, "node a"))
    assert first == Declared(SHOP, "node a")
    both = reconcile(first, Declared(replace(SHOP, operations=("GET /cart",)), "node b"))
    assert both == Declared(replace(SHOP, operations=("GET /", "GET /cart")), "node a")
