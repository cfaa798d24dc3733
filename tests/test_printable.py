"""Text from elsewhere is escaped for a terminal."""

import pytest

from amoc_gevent.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("müde 東京 ±5 µs", "müde 東京 ±5 µs"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x9b2J\x7f", r"\x1b[2J\x9b2J\x7f"),
        ("a\u202eb\u2066c\u2028d\udcff", r"a\u202eb\u2066c\u2028d\udcff"),
    ],
)
def test_a_line_has_printable_characters_only(text: str, escaped: str) -> None:
    assert printable(text) == escaped


def test_lines_stay_lines_and_styles_stay_only_where_wanted() -> None:
    text = "\x1b[1;31mred\x1b[0m\n\x1b[2Jx\r\x1b[1"
    assert printable_lines(text, styled=True) == "\x1b[1;31mred\x1b[0m\n\\x1b[2Jx\\r\\x1b[1"
    assert printable_lines("\x1b[0m\na") == "\\x1b[0m\na"
