"""`amoc scenarios` and `amoc describe`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from amoc_gevent.cli.main import main

SHOP = f'''\
"""Buys things.

{"One thing after the other, as people do. " * 4}
"""

from amoc_gevent import settings

url = settings.declare("url", "http://127.0.0.1:8080", "the shop")
mode = settings.declare("mode", "fast", "how to buy " * 12, verify=["fast", "slow"], update=True)
think = settings.declare("think", "1m30s", "think time", type=settings.duration, unit="s")
size = settings.declare("size", 10, "size of an order", unit="items")
token = settings.declare("token", "", "what lets users in")

def init(): ...
def start(user_id: int, state: str) -> None: ...
'''


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with one scenario, in which the test's process works."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    path = tmp_path / "scenarios" / "shop.py"
    path.parent.mkdir()
    path.write_text(SHOP)
    return path


def amoc(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def test_scenarios_are_listed_with_their_first_lines(shop: Path) -> None:
    shop.with_name("broken.py").write_text("def start(:")
    lines = [" ".join(line.split()) for line in amoc("scenarios").output.splitlines()]
    assert "broken error: line 1: invalid syntax" in lines
    assert "shop Buys things." in lines
    assert any(line.startswith("http_hello ") for line in lines)


def test_scenarios_are_listed_as_json(shop: Path) -> None:
    rows = json.loads(amoc("scenarios", "--json").output)
    assert {"name": "shop", "path": "scenarios/shop.py", "summary": "Buys things."} in rows


def test_describe_shows_callbacks_and_settings_within_the_terminal(shop: Path) -> None:
    output = amoc("describe", "shop").output
    assert "Buys things." in output
    assert "Callbacks: init(), start(user_id, state)" in output
    assert "url = http://127.0.0.1:8080  (str)" in output
    assert "think = 1m30s  (duration)" in output
    assert "size = 10 items  (int)" in output
    assert 'token = ""  (str)' in output
    assert "one of fast, slow; may change during a run" in " ".join(output.split())
    assert max(len(line) for line in output.splitlines()) <= 80


def test_describe_gives_all_of_it_as_json(shop: Path) -> None:
    described = json.loads(amoc("describe", "shop", "--json").output)
    assert described["path"] == "scenarios/shop.py"
    assert described["callbacks"] == ["init()", "start(user_id, state)"]
    mode = next(s for s in described["settings"] if s["name"] == "mode")
    assert (mode["default"], mode["allowed"], mode["update"]) == ("fast", ["fast", "slow"], True)


def test_describe_says_that_there_are_no_settings(shop: Path) -> None:
    shop.write_text("def init(): ...\ndef start(user_id): ...\n")
    assert amoc("describe", "shop").output.endswith("It declares no settings.\n")


def test_describing_what_is_not_there_is_wrong_usage(shop: Path) -> None:
    result = amoc("describe", "shpo")
    assert result.exit_code == 2
    assert "did you mean shop?" in result.stderr


def test_describing_a_broken_scenario_names_the_line(shop: Path) -> None:
    shop.write_text("\n1 / 0\n")
    result = amoc("describe", "shop")
    assert result.exit_code == 1
    assert result.stderr.startswith("amoc: scenarios/shop.py:2: ZeroDivisionError")


def test_describe_shows_settings_that_only_the_loaded_scenario_has(shop: Path) -> None:
    shop.with_name("shared.py").write_text(
        "from amoc_gevent import settings\n"
        "for name in ('one', 'two'):\n    settings.declare(f'shop_{name}', 1, 'a number')\n"
    )
    shop.write_text("import shared\ndef init(): ...\ndef start(user_id): ...\n")
    described = json.loads(amoc("describe", "shop", "--json").output)
    assert [(one["name"], one["value"], one["source"]) for one in described["settings"]] == [
        ("shop_one", None, ""),
        ("shop_two", None, ""),
    ]


def test_describing_a_scenario_that_declares_too_much_is_a_line(shop: Path) -> None:
    shop.write_text(f"'''{'x' * 250_001}'''\ndef init(): ...\ndef start(user_id): ...\n")
    result = amoc("describe", "shop")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("amoc: scenarios/shop.py:1: scenario shop declares too much: its docstr")
