"""The boundary around one command of a prompt: what it raises is a line, and the next follows."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from amoc_gevent.cli.steering import prompt
from amoc_gevent.control.client import Control
from amoc_gevent.errors import AmocError, ScenarioError

Carried = Callable[[BaseException], tuple[bool, str]]


@pytest.fixture
def carried(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Carried:
    """Return what carries out a line that raises and one that does not; what came of them."""

    def carry(raised: BaseException) -> tuple[bool, str]:
        ends = [raised, None]

        def carry_out(*_: object) -> int:
            if (end := ends.pop(0)) is not None:
                raise end
            return 0

        monkeypatch.setattr(prompt, "carry_out", carry_out)
        good = prompt.carry_out_all(["status", "status"], Control(home / "master.sock"))
        assert ends == []
        return good, capsys.readouterr().err

    return carry


FORESEEN = [
    (AmocError("no route"), "no route\n"),
    (ScenarioError("a.py:1: no", "Traceback\n  a"), "a.py:1: no\nTraceback\n  a\n"),
    (AmocError("no\n\x1b[2J"), "no\\n\\x1b[2J\n"),
    (ScenarioError("no", "Trace\x07\n  a"), "no\nTrace\\x07\n  a\n"),
]


@pytest.mark.parametrize(("raised", "said"), FORESEEN)
def test_an_error_that_was_foreseen_is_its_line(
    carried: Carried, raised: BaseException, said: str
) -> None:
    assert carried(raised) == (False, said)


UNFORESEEN = [
    (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    (KeyError("users"), "KeyError: 'users'"),
    (RuntimeError("two\nlines"), "RuntimeError: two"),
    (PermissionError(13, "Permission denied", "/root/x"), "PermissionError: [Errno 13] Permission"),
    (OSError(24, "Too many open files"), "OSError: [Errno 24] Too many open files"),
    (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"), "UnicodeEncodeError: "),
    (RecursionError("too deep"), "RecursionError: too deep"),
    (MemoryError(), "MemoryError"),
    (SystemExit(3), "SystemExit: 3"),
    (click.UsageError("Bad thing."), "UsageError: Bad thing."),
    (click.Abort(), "Abort"),
    (click.exceptions.Exit(4), "Exit: 4"),
]


@pytest.mark.parametrize(("raised", "said"), UNFORESEEN)
def test_any_other_is_named_in_a_line_that_says_where_its_traceback_is(
    carried: Carried, home: Path, raised: BaseException, said: str
) -> None:
    good, shown = carried(raised)
    (line,) = shown.splitlines()
    kept = home / "log/prompt.traceback"
    assert not good
    assert line.startswith(f"internal error: {said}")
    assert line.endswith(f"; its traceback is in {kept}")
    assert "in carry_out\n" in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_one_traceback_is_kept_the_latest(carried: Carried, home: Path) -> None:
    for text in ("first", "second"):
        carried(RuntimeError(text))
    kept = (home / "log/prompt.traceback").read_text()
    assert "second" in kept
    assert "first" not in kept


def test_a_home_that_cannot_be_written_keeps_nobody_from_the_line(
    carried: Carried, home: Path
) -> None:
    home.write_text("no directory")
    assert carried(RuntimeError("two")) == (False, "internal error: RuntimeError: two\n")


def test_an_interrupt_ends_the_waiting_only(carried: Carried) -> None:
    assert carried(KeyboardInterrupt()) == (True, "stopped waiting; the command goes on\n")


def test_a_signal_that_ends_the_process_ends_the_prompt(carried: Carried) -> None:
    with pytest.raises(prompt.EndedBySignal):
        carried(prompt.EndedBySignal(143))


SETTING = {"default": "1", "unit": "", "type": "int", "description": "a number", "allowed": []}


def test_settings_are_completed_from_the_manifest_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(request: dict[str, Any], _patience: float) -> dict[str, Any]:
        asked.append(request["command"])
        return {
            "run": "5f0c",
            "name": "shop",
            "settings": [
                {**SETTING, "name": "computed", "update": True},
                {**SETTING, "name": "fixed", "update": False},
            ],
        }

    control = Control(tmp_path / "master.sock")
    monkeypatch.setattr(control, "ask", ask)
    assert prompt._settings(control)("") == ["computed"]
    assert asked == ["describe"]
    path = tmp_path / "shop.py"
    path.write_text("settings.declare('url', 'a', 'the shop')\nraise ValueError\n")
    assert prompt._settings(control)(str(path)) == ["url"]
    assert asked == ["describe"]


def test_without_a_manifest_no_setting_is_completed(tmp_path: Path) -> None:
    assert prompt._settings(Control(tmp_path / "no.sock"))("") == []
