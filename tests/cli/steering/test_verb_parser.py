"""What is typed at the prompt becomes a request, help, or one line that says what is wrong."""

import click
import pytest

from amoc_gevent.cli.run import run
from amoc_gevent.cli.steering.verb_parser import Invocation, flags_of, parse_line, verbs
from amoc_gevent.control.requests import command_of
from amoc_gevent.core.run.commands import (
    VERBS,
    Add,
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
from amoc_gevent.core.run.options import OPTIONS, RUN_OPTIONS
from amoc_gevent.core.run.plan import Options
from amoc_gevent.errors import UsageError

SPREAD = Do("shop", 1, 10, nodes=("b", "a"), strategy="blocks")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("add 10", Add(10)),
        ("add 10 --nodes two,one", Add(10, ("two", "one"))),
        ("remove 10 --nodes one", Remove(10, nodes=("one",))),
        ("pause", Pause()),
        ("resume", Resume()),
        ("rebalance", Rebalance()),
        ("nodes", Nodes()),
        ("runs", Runs()),
        ("summary", Summary()),
        ("summary 5f0c2a9b7d1e", Summary("5f0c2a9b7d1e")),
        ("do shop 1 10 --nodes 'b, a' --strategy blocks", SPREAD),
        ("remove 10", Remove(10)),
        ("remove 3 --force", Remove(3, force=True)),
        ("set user_rate 50/s", Set("user_rate", "50/s")),
        ("set name 'two words'", Set("name", "two words")),
        ("stop", Stop()),
        ("stop --force", Stop(force=True)),
        ("status", Status()),
        ("do shop 1 10", Do("shop", 1, 10)),
        ("do shop -u 10", Do("shop", 1, 10)),
        ("do shop --users 1", Do("shop", 1, 1)),
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
    asked = parse_line(line)

    assert isinstance(asked, Invocation)
    assert command_of(asked.request) == command


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("frobnicate", "there is no verb 'frobnicate'; there are do, add"),
        ("add", "Missing argument 'COUNT'"),
        ("add ten", "'ten' is not a valid integer"),
        ("remove 1 --gently", "No such option"),
        ("describe shop", "describe shows the run's scenario; another: `amoc describe shop`"),
        ("do shop", "give the users after SCENARIO, as FIRST LAST such as 1 100"),
        ("do shop 1", "give the users after SCENARIO, as FIRST LAST such as 1 100"),
        ("do shop 1 2 -u 3", "give the users after SCENARIO, as FIRST LAST such as 1 100"),
        ("do shop 1 -u 3", "give the users after SCENARIO, as FIRST LAST such as 1 100"),
        ("do shop -u 99999999999999999", "users 1 to 99999999999999999: ids are from 1 to"),
        ("do shop 1 99999999999999999", "users 1 to 99999999999999999: ids are from 1 to"),
        ("do shop 3 2", "users 3 to 2: FIRST must not be above LAST"),
        ("do 1 10 shop", "'shop' is not a number: SCENARIO comes first, then FIRST and LAST"),
        ("do shop 1 2 --interarrival 50ms", "do has no --interarrival: give the rate, --user-rate"),
        ("do shop 1 2 --interarrival 50ms", "--user-rate 20/s"),
        ("do shop 1 2 --interarrival 0", "give the rate, --user-rate 20/s"),
        ("do shop -u 0", "0 is not in the range x>=1"),
        ("do shop 1 2 --set url", "NAME=VALUE"),
        ("add 'ten", "No closing quotation"),
        ("add 1 --nodes one,,two", "write names of nodes as one,two,three"),
        ("do shop 1 2 --strategy fair", "'fair' is not one of 'round-robin'"),
        ("pause now", "unexpected extra argument"),
    ],
)
def test_a_wrong_line_is_a_usage_error_of_one_line(line: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_line(line)

    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_names_every_verb_and_says_more_of_each() -> None:
    overview, detail = parse_line("help"), parse_line("help remove")

    assert isinstance(overview, str)
    assert isinstance(detail, str)
    assert all(f"  {verb} " in overview for verb in verbs.commands)
    assert "--force" in detail


@pytest.mark.parametrize("word", ["exit", "quit", "help"])
def test_help_knows_the_words_of_the_prompt_too(word: str) -> None:
    said = parse_line(f"help {word}")

    assert isinstance(said, str)
    assert said.startswith(word)


def test_completion_knows_the_options_of_a_verb() -> None:
    assert "--force" in flags_of("remove")
    assert "--user-rate" in flags_of("do")
    assert "--interarrival" not in flags_of("do")
    assert flags_of("nonsense") == []


@pytest.mark.parametrize("verb", [*verbs.commands])
def test_the_answer_of_every_verb_can_be_had_as_json(verb: str) -> None:
    assert "--json" in flags_of(verb)


@pytest.mark.parametrize(
    ("line", "as_json", "wait"),
    [
        ("do shop 1 2", False, True),
        ("do shop 1 2 --no-wait", False, False),
        ("do shop 1 2 --json", True, True),
        ("stop", False, True),
        ("stop --no-wait", False, False),
        ("status --json", True, False),
        ("add 1", False, False),
    ],
)
def test_a_line_says_how_its_answer_is_taken(line: str, as_json: bool, wait: bool) -> None:
    asked = parse_line(line)

    assert isinstance(asked, Invocation)
    assert (asked.as_json, asked.wait) == (as_json, wait)


@pytest.mark.parametrize("verb", [*verbs.commands])
def test_the_help_of_every_option_of_every_verb_has_words(verb: str) -> None:
    for option in verbs.commands[verb].params:
        if isinstance(option, click.Option):
            assert option.help, option.name


@pytest.mark.parametrize("name", OPTIONS)
def test_run_and_do_explain_an_option_of_a_run_with_the_same_words(name: str) -> None:
    explained = {
        option.help
        for command in (run, verbs.commands["do"])
        for option in command.params
        if isinstance(option, click.Option) and option.name == name
    }
    assert explained == {RUN_OPTIONS[name].help}


def test_each_command_is_a_verb_with_its_own_help() -> None:
    assert set(VERBS) < set(verbs.commands)
    assert all(command.help for command in verbs.commands.values())
