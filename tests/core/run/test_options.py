"""Run options by name: valid values, and the errors for invalid ones."""

import pytest

from amoc_gevent.core.run.options import OPTIONS, RUN_OPTIONS, changed_option
from amoc_gevent.core.run.plan import Options
from amoc_gevent.errors import UsageError


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("user_rate", "1200/min", Options(user_rate=20.0)),
        ("repeat_interval", "250ms", Options(repeat_interval=0.25)),
        ("repeat_interval", "0", Options(repeat_interval=0.0)),
        ("repeat_num", "3", Options(repeat_num=3)),
        ("repeat_num", "0", Options(repeat_num=0)),
        ("on_user_error", "remove", Options(on_user_error="remove")),
        ("stop_timeout", "1m", Options(stop_timeout=60.0)),
    ],
)
def test_text_is_parsed_as_the_value_of_its_option(name: str, text: str, expected: Options) -> None:
    assert changed_option(Options(), name, text) == expected


def test_an_option_changes_and_the_others_stay() -> None:
    before = Options(5.0, 1.0, 2, "stop", 9.0)
    assert changed_option(before, "repeat_num", "7") == Options(5.0, 1.0, 7, "stop", 9.0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("user_rate", "0/s", "user_rate: '0/s' is not a rate"),
        ("user_rate", "fast", "user_rate: 'fast' is not a rate"),
        ("user_rate", "9" * 400, "user_rate: "),
        ("repeat_interval", "-1s", "repeat_interval: '-1s' is not a time"),
        ("repeat_interval", "9" * 400, "repeat_interval: "),
        ("repeat_num", "-1", "repeat_num: '-1' is not a number of iterations"),
        ("repeat_num", "1.5", "repeat_num: '1.5' is not a number of iterations"),
        ("repeat_num", "²", "repeat_num: '²' is not a number of iterations"),
        ("repeat_num", "1000000001", "repeat_num: 1000000001: 1,000,000,000 iterations at most"),
        ("repeat_num", "9" * 5000, "repeat_num: 99999999999999999999: 1,000,000,000 iterations"),
        (
            "repeat_num",
            "9007199254740993",
            "repeat_num: 9007199254740993: 1,000,000,000 iter",
        ),
        ("on_user_error", "cry", "on_user_error: 'cry' is not one of repeat, remove, stop"),
        ("speed", "5", "there is no option speed; there are user_rate, repeat_interval"),
    ],
)
def test_a_bad_value_is_a_usage_error_that_names_the_option(
    name: str, text: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        changed_option(Options(), name, text)
    assert str(caught.value).startswith(said)


def test_each_option_is_a_field_of_options() -> None:
    assert set(OPTIONS) == set(Options.__slots__)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("user_rate", "over all workers [20/s]."),
        ("repeat_interval", "[60s]."),
        ("repeat_num", "[0: no limit]."),
        ("on_user_error", "[repeat]."),
        ("on_node_loss", "[replace]."),
    ],
)
def test_the_help_of_an_option_ends_with_its_default(name: str, end: str) -> None:
    assert RUN_OPTIONS[name].help.endswith(end)
