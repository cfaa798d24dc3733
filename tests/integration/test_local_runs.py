"""Runs of `amoc run` and of the console are kept in the home, and are shown without a master."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.integration.conftest import Amoc
from tests.integration.homes import Daemons
from tests.integration.piped import piped
from tests.servers import wait_for

SCENARIO = "import gevent\n\ndef start(user_id):\n    gevent.sleep(0.01)\n"
QUICK = ("--user-rate", "500/s", "--repeat-interval", "50ms", "--workers", 1)


@pytest.fixture
def daemons(amoc: Amoc) -> Iterator[Daemons]:
    found = Daemons(amoc)
    yield found
    found.end()


def runs(amoc: Amoc) -> list[dict[str, Any]]:
    code, said = amoc.run("runs", "--json")
    assert code == 0, said
    found: list[dict[str, Any]] = json.loads(said)["runs"]
    return found


def test_without_a_run_there_is_none_to_show_and_no_store_is_made(amoc: Amoc) -> None:
    code, said = amoc.run("runs")
    assert (code, said.startswith("there was no run yet")) == (0, True), said
    code, said = amoc.run("summary")
    assert (code, said.startswith("amoc: there was no run yet")) == (1, True), said
    assert amoc.run("summary", "5f0c")[0] == 2
    assert not (amoc.directory / "home").exists()


def test_a_run_is_listed_and_its_summary_is_what_it_wrote(amoc: Amoc) -> None:
    path = amoc.scenario(SCENARIO)
    wrote = amoc.load(path, 1, 3, "--duration", "1s", "--comment", "first", *QUICK)
    (line,) = runs(amoc)
    assert (line["run"], line["status"]) == (wrote["run"]["id"], "finished")
    assert (line["scenario"], line["users"], line["comment"]) == ("mine", 3, "first")
    assert json.loads(amoc.run("summary", "--json")[1]) == wrote
    code, said = amoc.run("summary", line["run"])
    assert (code, said.startswith("mine finished after")) == (0, True), said
    code, said = amoc.run("summary", "nonsense")
    assert (code, said) == (2, "amoc: there is no run nonsense; `runs` lists them\n")


def test_one_that_is_killed_is_lost_and_not_said_to_go_on(amoc: Amoc, daemons: Daemons) -> None:
    process = amoc.start("run", amoc.scenario(SCENARIO), 1, 3, *QUICK)
    wait_for(lambda: [one["status"] for one in runs(amoc)] == ["running"], 30, "the run")
    daemons.master()
    assert [one["status"] for one in runs(amoc)] == ["running"]
    process.popen.kill()
    process.wait()
    assert [one["status"] for one in runs(amoc)] == ["lost"]
    assert daemons.json("status")["status"] == "idle"
    code, said = amoc.run("summary")
    assert (code, said.startswith("mine lost after")) == (0, True), said
    daemons.good("shutdown")
    assert [one["status"] for one in runs(amoc)] == ["lost"]


def test_a_master_and_local_runs_write_the_same_store_at_once(amoc: Amoc, daemons: Daemons) -> None:
    path = amoc.scenario(SCENARIO)
    daemons.master()
    daemons.node()
    daemons.good("do", path, 1, 5, "--user-rate", "500/s", "--repeat-interval", "50ms")
    local = [amoc.start("run", path, 1, 2, "--duration", "1s", *QUICK) for _ in range(2)]
    for one in local:
        assert one.wait() == 0, one.said()
        assert "run store" not in one.said()
    daemons.good("stop")
    assert sorted(one["status"] for one in runs(amoc)) == ["finished"] * 3
    assert "cannot be written" not in daemons.log()
    assert [one["name"] for one in daemons.json("nodes")["nodes"]] == ["one"]


def test_the_console_lists_runs_of_now_and_before(amoc: Amoc) -> None:
    path = amoc.scenario(SCENARIO)
    amoc.load(path, 1, 2, "--duration", "500ms", "--comment", "before", *QUICK)
    code, said = piped(amoc, f"do {path} 1 3 --user-rate 500/s --comment now", "runs", "stop")
    assert code == 0, said
    listed = [line for line in said.splitlines() if " mine " in line and line[:2] != "mi"]
    assert [line.split()[-1] for line in listed][:2] == ["now", "before"]
    assert [one["status"] for one in runs(amoc)] == ["finished"] * 2


@pytest.mark.parametrize("how", ["not a database", "a directory", "open to others"])
def test_a_store_that_cannot_be_used_costs_a_line(amoc: Amoc, how: str) -> None:
    home = amoc.directory / "home"
    home.mkdir(mode=0o700)
    if how == "not a database":
        (home / "runs.db").write_bytes(b"nonsense " * 500)
    elif how == "a directory":
        (home / "runs.db").mkdir()
    else:
        home.chmod(0o777)
    arguments = (amoc.scenario(SCENARIO), 1, 2, "--duration", "500ms", "--quiet", *QUICK)
    code, said = amoc.run("run", *arguments)
    assert code == 0, said
    (line,) = said.splitlines()
    assert line.startswith("amoc: warning: `amoc runs` will not list this run: ")


def test_a_store_that_another_process_locks_costs_a_line(amoc: Amoc) -> None:
    path = amoc.scenario(SCENARIO)
    arguments = (path, 1, 2, "--duration", "500ms", "--quiet", *QUICK)
    assert amoc.run("run", *arguments) == (0, "")
    with closing(sqlite3.connect(amoc.directory / "home" / "runs.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        code, said = amoc.run("run", *arguments)
    assert code == 0, said
    (line,) = said.splitlines()
    assert "runs.db cannot be written: database is locked" in line
    assert len(runs(amoc)) == 1
