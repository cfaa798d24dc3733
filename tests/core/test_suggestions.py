"""Hints for mistyped names."""

import pytest

from amoc_gevent.core.suggestions import did_you_mean, there_are


@pytest.mark.parametrize(
    ("name", "hint", "following"),
    [
        ("scop", "did you mean shop?", ", did you mean shop? There are: shop, chat"),
        ("shop_", "did you mean shop?", ", did you mean shop? There are: shop, chat"),
        ("xyz", "", "; there are: shop, chat"),
    ],
)
def test_a_similar_name_is_suggested(name: str, hint: str, following: str) -> None:
    assert did_you_mean(name, ["shop", "chat"]) == hint
    assert there_are(name, ["shop", "chat"]) == following


def test_nothing_is_suggested_without_known_names() -> None:
    assert did_you_mean("shop", ()) == there_are("shop", ()) == ""
