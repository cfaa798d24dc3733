"""Names as Graphite takes them: one part each, no two long ones the same."""

import pytest

from amoc_gevent.output.graphite.names import BYTES_MAX, component, is_prefix


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GET /", "GET"),
        ("GET /products/<id>", "GET_products_id"),
        ("xmpp message delivery", "xmpp_message_delivery"),
        ("10.0.0.7:5222", "10_0_0_7_5222"),
        ("größe", "größe"),
        ("two\nlines", "two_lines"),
        ("a;tag=1", "a_tag_1"),
        ("", "_"),
        ("../..", "_"),
        ("half \ud800", "half"),
    ],
)
def test_what_is_no_letter_or_digit_becomes_one_line(name: str, expected: str) -> None:
    assert component(name) == expected


@pytest.mark.parametrize("letter", ["a", "ß", "語"])
def test_long_names_are_cut_and_stay_apart(letter: str) -> None:
    one, two = component(letter * 300 + "1"), component(letter * 300 + "2")
    assert len(one.encode()) <= BYTES_MAX
    assert one != two
    assert one.startswith(letter * 50)


@pytest.mark.parametrize(
    ("text", "good"),
    [("load", True), ("team.load-1", True), ("a..b", False), (".a", False), ("a b", False)],
)
def test_a_prefix_is_parts_with_dots_between_them(text: str, good: bool) -> None:
    assert is_prefix(text) is good
