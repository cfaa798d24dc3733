"""What is asked is waited for: `do` until users start or cannot, `stop` until the run has ended."""

import json
from pathlib import Path
from typing import Any

import pytest

from amoc_gevent.cli.steering.execution import carry_out
from amoc_gevent.cli.steering.verb_parser import Invocation, parse_line
from amoc_gevent.control.client import Control
from amoc_gevent.control.stored import StoredRuns
from amoc_gevent.core.json_codec import as_json
from amoc_gevent.core.run.status import status_of
from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import AmocError, ScenarioError, UsageError
from amoc_gevent.output.summary import summary
from tests.output.runs import full_run, run_of

STARTED = {"run": "5f0c", "users": 2}
GOOD = as_json(status_of(run_of(), 1, 0.0)) | {"run": "5f0c"}
BAD = {**GOOD, "failure": "init raised", "failure_detail": "Traceback ..."}
SUMMARY = summary(full_run())


class Scripted(Control):
    """Answers `status` from a list, whose last one stays; and all else with one answer."""

    def __init__(self, answer: dict[str, Any], *statuses: dict[str, Any]) -> None:
        super().__init__(Path("nowhere"))
        self.asked: list[dict[str, Any]] = []
        self._answer = answer
        self._statuses = list(statuses)

    def ask(self, request: dict[str, Any], timeout: float = 0.0) -> dict[str, Any]:
        self.asked.append(request)
        if request["command"] != "status":
            return self._answer
        return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]


def asked(line: str) -> Invocation:
    found = parse_line(line)
    assert isinstance(found, Invocation)
    return found


def test_do_waits_until_the_users_start(capsys: pytest.CaptureFixture[str]) -> None:
    starting = {**GOOD, "status": "starting"}
    control = Scripted(STARTED, starting, starting, {**GOOD, "status": "running"})
    assert carry_out(asked("do x 1 2"), control) == 0
    assert [one["command"] for one in control.asked] == ["do", *["status"] * 3]
    assert capsys.readouterr().out == "run 5f0c: 2 users\n"


def test_do_does_not_wait_where_it_shall_not() -> None:
    control = Scripted(STARTED, {**GOOD, "status": "starting"})
    assert carry_out(asked("do x 1 2 --no-wait"), control) == 0
    assert len(control.asked) == 1


def test_a_run_that_is_over_already_was_started() -> None:
    assert carry_out(asked("do x 1 2"), Scripted(STARTED, {**GOOD, "status": "finished"})) == 0


def test_do_raises_what_kept_the_run_from_starting_once_it_is_over() -> None:
    control = Scripted(STARTED, {**BAD, "status": "stopping"}, {**BAD, "status": "failed"})
    with pytest.raises(ScenarioError, match="init raised") as caught:
        carry_out(asked("do x 1 2"), control)
    assert caught.value.detail == "Traceback ..."
    assert len(control.asked) == 3


def test_a_wrong_setting_is_a_wrong_use() -> None:
    status = {**BAD, "status": "failed", "failure_usage": True}
    with pytest.raises(UsageError, match="init raised"):
        carry_out(asked("do x 1 2"), Scripted(STARTED, status))


def test_do_gives_up_when_the_master_has_another_run() -> None:
    other = {**GOOD, "run": "7a11", "status": "running"}
    with pytest.raises(AmocError, match="run 5f0c is no longer the master's run"):
        carry_out(asked("do x 1 2"), Scripted(STARTED, other))


def test_stop_waits_until_the_run_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    stopping = {"run": "5f0c", "status": "stopping", "force": False}
    control = Scripted(stopping, {**GOOD, "status": "stopping"}, {**GOOD, "status": "finished"})
    assert carry_out(asked("stop"), control) == 0
    assert capsys.readouterr().out == "run 5f0c is stopping\nrun 5f0c finished\n"


def test_json_is_the_answer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    stopping = {"run": "5f0c", "status": "stopping", "force": False}
    carry_out(asked("stop --json"), Scripted(stopping, {**GOOD, "status": "finished"}))
    assert json.loads(capsys.readouterr().out) == {**stopping, "status": "finished"}
    carry_out(asked("summary --json"), Scripted({"summary": SUMMARY}))
    assert json.loads(capsys.readouterr().out) == SUMMARY


def test_do_names_a_scenario_of_here_by_its_path_and_leaves_others_to_the_master(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").mkdir()
    mine = tmp_path / "scenarios/mine.py"
    mine.write_text("def start(user_id): pass\n")
    for name, sent in (("mine", str(mine)), ("scenarios/mine.py", str(mine)), ("far", "far")):
        control = Scripted(STARTED)
        carry_out(asked(f"do {name} 1 2 --no-wait"), control)
        assert control.asked[0]["scenario"] == sent


def test_what_the_master_says_is_escaped_where_it_is_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    control = Scripted(
        {"run": "5\x1b", "status": "stopping", "force": False},
        {**GOOD, "run": "5\x1b", "status": "finished"},
    )
    control.warning = "full\n\x1b[2J"
    carry_out(asked("stop"), control)
    out, err = capsys.readouterr()
    assert out == "run 5\\x1b is stopping\nrun 5\\x1b finished\n"
    assert err == "amoc: full\\n\\x1b[2J\n"


def test_without_a_master_runs_hints_at_amoc_run(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    carry_out(asked("runs"), StoredRuns(Home(home)))
    line = "there was no run yet: start one with `amoc run SCENARIO FIRST LAST`\n"
    assert capsys.readouterr().out == line


def test_a_report_is_asked_for_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "77")
    control = Scripted({"report": "shop finished"})
    carry_out(asked("summary 5f0c"), control)
    expected = {"command": "summary", "run": "5f0c", "form": "text", "width": 77, "colour": False}
    assert control.asked == [expected]
