"""Times and rates as options of a command."""

import click
import pytest
from click.testing import CliRunner

from amoc_gevent.cli.params import DURATION, RATE, TEXT, pairs
from amoc_gevent.errors import UsageError


@click.command()
@click.option("--for", "seconds", type=DURATION, default=2, show_default=True)
@click.option("--rate", type=RATE)
def probe(seconds: float, rate: float | None) -> None:
    click.echo(f"{seconds!r} {rate!r}")


@pytest.mark.parametrize(
    ("args", "output"),
    [
        ([], "2.0 None"),
        (["--for", "1m30s"], "90.0 None"),
        (["--rate", "1200/min"], "2.0 20.0"),
    ],
)
def test_options_are_numbers_of_seconds_and_per_second(args: list[str], output: str) -> None:
    assert CliRunner().invoke(probe, args).output == f"{output}\n"


@pytest.mark.parametrize(
    ("args", "says"), [(["--for", "soon"], "500ms, 30s"), (["--rate", "0"], "above zero")]
)
def test_a_wrong_value_is_a_usage_error_with_the_valid_forms(args: list[str], says: str) -> None:
    result = CliRunner().invoke(probe, args)
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize("given", ["s=\udcff", "\udcff"])
def test_a_setting_that_is_not_utf8_is_wrong_usage_in_one_printable_line(given: str) -> None:
    with pytest.raises(UsageError, match="is not UTF-8") as caught:
        pairs([given])
    assert str(caught.value).isprintable()


def test_a_text_option_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="is not UTF-8") as caught:
        TEXT.convert("a\udcff", None, None)
    assert caught.value.message.isprintable()
    assert TEXT.convert("ünï", None, None) == "ünï"
