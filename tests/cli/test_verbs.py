"""What is typed at the prompt becomes a request, help, or one line that says what is wrong."""

import pytest

from amoc_gevent.cli.verbs import flags_of, request_of
from amoc_gevent.core.commands import Add, Do, Remove, Set, Status, Stop
from amoc_gevent.core.plan import Options
from amoc_gevent.core.wire import command_of
from amoc_gevent.errors import UsageError


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("add 10", Add(10)),
        ("remove 10", Remove(10)),
        ("remove 3 --force", Remove(3, force=True)),
        ("set user_rate 50/s", Set("user_rate", "50/s")),
        ("set name 'two words'", Set("name", "two words")),
        ("stop", Stop()),
        ("stop --force", Stop(force=True)),
        ("status", Status()),
        ("do shop 1 10", Do("shop", 1, 10)),
        (
            "do shop 1 10 --set url=http://a/?b=c --duration 1m --user-rate 60/min --comment 'a b'",
            Do(
                "shop",
                1,
                10,
                settings={"url": "http://a/?b=c"},
                options=Options(user_rate=1.0),
                duration=60.0,
                comment="a b",
            ),
        ),
    ],
)
def test_a_line_becomes_the_command_that_it_says(line: str, command: object) -> None:
    request = request_of(line)

    assert isinstance(request, dict)
    assert command_of(request) == command


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("frobnicate", "there is no verb 'frobnicate'; there are do, add"),
        ("add", "Missing argument 'COUNT'"),
        ("add ten", "'ten' is not a valid integer"),
        ("remove 1 --gently", "No such option"),
        ("do shop 1", "Missing argument 'LAST'"),
        ("do shop 1 2 --set url", "NAME=VALUE"),
        ("add 'ten", "No closing quotation"),
    ],
)
def test_a_wrong_line_is_a_usage_error_of_one_line(line: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        request_of(line)

    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_names_every_verb_and_says_more_of_each() -> None:
    overview, detail = request_of("help"), request_of("help remove")

    assert isinstance(overview, str)
    assert isinstance(detail, str)
    assert all(verb in overview for verb in ("do", "add", "remove", "set", "stop", "status"))
    assert "--force" in detail


def test_completion_knows_the_options_of_a_verb() -> None:
    assert "--force" in flags_of("remove")
    assert "--user-rate" in flags_of("do")
    assert flags_of("nonsense") == []
