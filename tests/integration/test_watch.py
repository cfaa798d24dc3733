"""`amoc watch` on a real run: a table on a terminal, lines on a pipe, and no harm to the run."""

import json
import signal
from collections.abc import Iterator

import pytest

from amoc_gevent.output.terminal.grid import crop_end
from amoc_gevent.output.terminal.table import NOTE
from tests.integration.conftest import Amoc
from tests.integration.homes import Daemons, daemons_of
from tests.integration.terminals import Terminal
from tests.servers import wait_for

SCENARIO = """
from amoc_gevent import metrics, user


def start(user_id):
    with metrics.operation("working hard"):
        user.sleep(0.05)
"""
OTHER_SCREEN, SCREEN_BACK = b"\x1b[?1049h", b"\x1b[?1049l"


@pytest.fixture
def daemons(amoc: Amoc) -> Iterator[Daemons]:
    """A master and a node, with a run that goes on."""
    for found in daemons_of(amoc):
        found.master()
        found.node()
        path = amoc.scenario(SCENARIO)
        found.good("do", path, 1, 5, "--repeat-interval", "100ms", "--user-rate", "100/s")
        yield found


@pytest.fixture
def terminal(amoc: Amoc, daemons: Daemons) -> Iterator[Terminal]:
    """A terminal that watches the run."""
    found = Terminal(amoc.environment(), "watch")
    yield found
    found.close()


@pytest.mark.parametrize("key", [b"q", b"\x03", b"\x04"])
def test_a_table_is_drawn_until_one_leaves_and_the_run_goes_on(
    daemons: Daemons, terminal: Terminal, key: bytes
) -> None:
    terminal.expect(OTHER_SCREEN)
    terminal.expect(b"running")
    terminal.expect(b"working hard")
    terminal.expect(b"q leaves, the run goes on")
    assert not terminal.echoes()
    terminal.type(key)
    assert terminal.wait() == 0
    terminal.expect(SCREEN_BACK)
    assert terminal.echoes()
    assert daemons.json("status")["status"] == "running"


def test_the_table_is_as_large_as_the_terminal_of_the_moment(terminal: Terminal) -> None:
    terminal.expect(b"working hard")
    terminal.expect(b"count and errors the whole run")
    terminal.resize(10, 40)
    terminal.expect(crop_end(NOTE, 40).encode())
    terminal.type(b"q")
    assert terminal.wait() == 0


def test_a_suspended_watch_gives_the_screen_back_and_draws_anew(terminal: Terminal) -> None:
    terminal.expect(b"q leaves")
    terminal.type(b"\x1a")
    terminal.expect(SCREEN_BACK)
    wait_for(terminal.echoes, what="the terminal as it was")
    wait_for(terminal.stopped, what="the command to stop")
    terminal.send(signal.SIGCONT)
    terminal.expect(OTHER_SCREEN)
    terminal.expect(b"q leaves")
    terminal.type(b"q")
    assert terminal.wait() == 0


def test_at_the_end_of_the_run_the_report_is_there(daemons: Daemons, terminal: Terminal) -> None:
    terminal.expect(b"running")
    daemons.good("stop")
    terminal.expect(SCREEN_BACK)
    terminal.expect(b"finished")
    terminal.expect(b"working hard")
    terminal.expect(b"The generator kept up")
    assert terminal.wait() == 0


def test_a_master_that_is_killed_is_said_and_the_terminal_is_as_it_was(
    daemons: Daemons, terminal: Terminal
) -> None:
    terminal.expect(b"q leaves")
    daemons.kill(signal.SIGKILL)
    terminal.expect(SCREEN_BACK)
    terminal.expect(b"amoc: the load generator has ended")
    assert terminal.wait() == 1
    assert terminal.echoes()


def test_on_a_pipe_there_are_lines_then_the_report(daemons: Daemons, amoc: Amoc) -> None:
    watching = amoc.start("watch")
    watching.expect("^running$")
    daemons.good("stop", "--force")
    assert watching.wait() == 0
    lines = watching.said().splitlines()
    assert lines[0] == "running"
    assert any(line.startswith("mine finished after") for line in lines)
    assert "\x1b" not in watching.said()


def test_each_line_for_programs_is_a_status_and_the_last_one_the_end(
    daemons: Daemons, amoc: Amoc
) -> None:
    watching = amoc.start("watch", "--json")
    wait_for(lambda: len(watching.said().splitlines()) >= 2, what="two lines")
    daemons.good("stop", "--force")
    assert watching.wait() == 0
    statuses = [json.loads(line) for line in watching.said().splitlines()]
    assert statuses[0]["status"] == "running"
    assert statuses[-1]["status"] == "finished"
    assert statuses[-1]["operations"]["working hard"]["count"] > 0


def test_the_summary_is_that_of_the_run(daemons: Daemons, amoc: Amoc) -> None:
    run = daemons.json("status")["run"]
    daemons.good("stop")
    summary = daemons.json("summary")
    assert summary == daemons.json("summary", run)
    assert summary["run"]["id"] == run
    count = daemons.json("status")["operations"]["working hard"]["count"]
    assert summary["operations"]["working hard"]["count"] == count > 0
    assert daemons.good("summary").startswith("mine finished after")
    code, said = amoc.run("summary", "nonsense")
    assert (code, said) == (2, "amoc: there is no run nonsense; `runs` lists them\n")
