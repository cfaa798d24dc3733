"""`amoc master` and `amoc node` as daemons: how they start, what they leave, how they end."""

import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent import subprocess

from amoc_gevent.control.background import end
from amoc_gevent.daemon.home import KINDS, Kind
from amoc_gevent.errors import AmocError
from tests.integration.conftest import Amoc
from tests.integration.homes import TCP, Daemons, daemons_of
from tests.servers import ROOT, listening_socket, wait_for

SCENARIO = """
from amoc_gevent import metrics, user


def start(user_id):
    with metrics.operation("work"):
        user.sleep(0.05)
"""


@pytest.fixture
def daemons(amoc: Amoc) -> Iterator[Daemons]:
    yield from daemons_of(amoc)


def test_a_master_answers_when_its_start_returns(daemons: Daemons) -> None:
    said = daemons.master()

    told = daemons.describe()
    who = "without --bind only the node of this home can join"
    assert said == f"the master runs, pid {told['pid']}: {who}\n"
    assert daemons.pid() == told["pid"]
    assert daemons.home.path.stat().st_mode & 0o777 == 0o700
    assert daemons.home.socket("master").stat().st_mode & 0o777 == 0o600
    assert os.getsid(told["pid"]) != os.getsid(0)


def test_workers_need_nothing_that_goes_when_a_user_logs_out(
    daemons: Daemons, amoc: Amoc, tmp_path: Path
) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    daemons.master()
    daemons.good("node", "--workers", 1, "--name", "one", env={"XDG_RUNTIME_DIR": str(runtime)})
    assert list(runtime.iterdir()) == list(amoc.sockets.iterdir()) == []
    shutil.rmtree(runtime)
    daemons.good("do", amoc.scenario(SCENARIO), 1, 2, "--repeat-num", 1)
    wait_for(lambda: daemons.json("status")["status"] == "finished", 20, "the end of the run")
    daemons.good("shutdown")
    assert list(daemons.home.sockets.iterdir()) == []


def test_a_home_may_be_deeper_than_a_sockets_address_is_long(amoc: Amoc) -> None:
    deep = amoc.directory / ("d" * 120)
    env = {"AMOC_HOME": str(deep)}
    code, said = amoc.run("master", env=env)
    assert code == 0, said
    said = amoc.run("node", "--workers", 1, "--name", "deep", env=env)[1]
    assert said.endswith(": joined the master of this home\n")
    assert amoc.run("status", env=env)[1].startswith("idle, 1 node")
    assert amoc.run("shutdown", env=env)[0] == 0
    assert not (deep / "master.sock").exists()


def test_a_node_says_that_it_joined_and_answers_status(daemons: Daemons) -> None:
    daemons.master()
    said = daemons.node()

    assert re.fullmatch(r"node one runs, pid \d+: joined the master of this home\n", said)
    assert daemons.json("status")["nodes"] == 1
    status = daemons.control("node").ask({"command": "status"})
    assert (status["kind"], status["name"], status["joined"]) == ("node", "one", True)


def test_a_node_without_a_master_starts_and_waits_for_it(daemons: Daemons) -> None:
    assert daemons.node().endswith(": waiting for the master of this home\n")
    assert "waiting for the master of this home" in daemons.good("status")
    daemons.master()
    wait_for(lambda: daemons.json("status")["nodes"] == 1, what="the node to join")


def test_a_node_of_another_machine_waits_for_a_master_that_does_not_answer(
    daemons: Daemons,
) -> None:
    with listening_socket() as taken:  # nobody speaks ZeroMQ there
        port = taken.getsockname()[1]
        where = ("--master", "127.0.0.1", "--port", port, "--reports-port", port)
        said = daemons.node(*where, "--insecure")
    warning = "amoc: --insecure: whoever answers at 127.0.0.1 can run code as this user\n"
    assert said.startswith(warning)
    assert said.endswith(": waiting for master 127.0.0.1\n")
    assert daemons.log("node").count("--insecure") == 1
    assert "waiting for master 127.0.0.1" in daemons.good("status")


@pytest.mark.parametrize("what", ["the directory", "its files"])
def test_master_and_node_find_each_other_when_their_sockets_were_removed(
    daemons: Daemons, what: str
) -> None:
    daemons.master()
    daemons.node()
    sockets = daemons.home.sockets
    if what == "the directory":
        shutil.rmtree(sockets)
    else:
        for path in sockets.iterdir():
            path.unlink()
    line = f"sockets in {sockets} were removed or replaced and have been reopened"
    wait_for(lambda: line in daemons.log(), 20, "the master's sockets")
    daemons.good("shutdown", "node")
    assert daemons.node().endswith(": joined the master of this home\n")
    assert daemons.log().count(line) == 1


def test_a_node_joins_the_next_master_when_their_sockets_were_removed(daemons: Daemons) -> None:
    daemons.master()
    daemons.node()
    daemons.kill(signal.SIGKILL)
    shutil.rmtree(daemons.home.sockets)
    wait_for(lambda: daemons.pid() is None, what="the end of the master")
    (daemons.home.path / "runs.db").unlink()  # the next one knows no node
    daemons.master()
    wait_for(lambda: daemons.json("nodes")["nodes"], 20, "the node to join")
    assert "were removed or replaced" in daemons.log("node")


@pytest.mark.parametrize("how", ["moved away", "removed"])
def test_daemons_whose_home_is_gone_end_by_themselves(
    daemons: Daemons, amoc: Amoc, tmp_path: Path, how: str
) -> None:
    daemons.master()
    daemons.node()
    home, before = daemons.home.path, tmp_path / "before"
    home.rename(before)
    if how == "removed":
        shutil.rmtree(before)
    wait_for(lambda: not amoc.processes(), 20, "the end of master and node")
    assert not home.exists()
    if how == "moved away":
        for kind in KINDS:
            told = f"ends: {home}/{kind}.pid is no longer its own"
            assert (before / f"log/{kind}.log").read_text().count(told) == 1
        assert (before / "master.sock").is_socket()


def test_a_home_made_anew_is_the_next_masters_alone(
    daemons: Daemons, amoc: Amoc, tmp_path: Path
) -> None:
    daemons.master()
    daemons.node()
    path = amoc.scenario(SCENARIO)
    daemons.good("do", path, 1, 10)
    old = {daemons.pid(kind) for kind in KINDS}
    home = daemons.home.path
    home.rename(tmp_path / "before")
    daemons.master()
    wait_for(lambda: not old & {one.pid for one in amoc.processes()}, 20, "the end of the others")
    for kind in KINDS:  # in the log of the home that was there when it was noticed
        logs = [place / f"log/{kind}.log" for place in (home, tmp_path / "before")]
        said = "".join(log.read_text() for log in logs if log.exists())
        assert said.count(f"ends: {home}/{kind}.pid is no longer its own") == 1
    assert daemons.json("runs")["runs"] == []
    daemons.node()
    daemons.good("do", path, 1, 2, "--repeat-num", 1)
    wait_for(lambda: daemons.json("status")["status"] == "finished", 20, "the end of the run")
    assert [run["operations"] for run in daemons.json("runs")["runs"]] == [2]
    assert {path.name for path in daemons.home.sockets.iterdir()} == {
        "plans",
        "reports",
        "one.orders",
        "one.reports",
    }


def test_a_command_to_a_node_is_sent_to_its_master(daemons: Daemons) -> None:
    daemons.master()
    daemons.node()
    with pytest.raises(
        AmocError, match=r"this is node one: send commands to the master of this home"
    ):
        daemons.control("node").ask({"command": "add", "count": 1})


def test_a_second_start_says_which_pid_is_there(daemons: Daemons, amoc: Amoc) -> None:
    daemons.master()
    pid = daemons.pid()

    for options in ((), ("--foreground",)):
        code, said = amoc.run("master", *options)
        assert code == 1
        assert said == (
            f"amoc: a master runs in {daemons.home.path} already, pid {pid}; "
            "`amoc shutdown master` ends it\n"
        )
    assert daemons.pid() == pid
    assert daemons.describe()["pid"] == pid


def test_a_start_that_fails_says_why_with_the_last_lines(daemons: Daemons, amoc: Amoc) -> None:
    with listening_socket() as taken:
        port = taken.getsockname()[1]
        code, said = amoc.run("master", *TCP, "--port", port, "--insecure")
    assert code == 1
    first = said.splitlines()[0]
    assert first.startswith("amoc: the master did not start: ")
    assert f"127.0.0.1:{port}" in first
    assert "in use" in first
    assert daemons.pid() is None


def test_a_home_that_cannot_be_used_is_one_line(amoc: Amoc) -> None:
    file = amoc.directory / "file"
    file.write_text("")
    for home, why in ((file / "home", "Not a directory"), (Path("/proc/home"), "No such file")):
        code, said = amoc.run("master", env={"AMOC_HOME": str(home)})
        assert code == 1
        assert why in said
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize("kind", ["master", "node"])
def test_a_killed_daemon_leaves_nothing_that_keeps_the_next_one(
    daemons: Daemons, kind: Kind
) -> None:
    daemons.master()
    daemons.node()
    pid = daemons.kill(signal.SIGKILL, kind)
    wait_for(lambda: daemons.pid(kind) is None, what="the end of the claim")
    assert daemons.home.socket(kind).exists()
    assert daemons.home.pid_file(kind).exists()

    if kind == "master":
        daemons.master()
    else:
        daemons.node()
    assert daemons.describe(kind)["pid"] == daemons.pid(kind) != pid


def test_a_socket_of_a_killed_master_is_one_line_to_who_asks(daemons: Daemons, amoc: Amoc) -> None:
    daemons.master()
    daemons.kill(signal.SIGKILL)
    wait_for(lambda: daemons.pid() is None, what="the end of the claim")
    code, said = amoc.run("status")
    hint = f"amoc: no master runs in {daemons.home.path}: start one with `amoc master`\n"
    assert (code, said) == (1, hint)


def test_hup_reopens_the_log(daemons: Daemons) -> None:
    daemons.master()
    log = daemons.home.log_file("master")
    moved = log.rename(log.with_name("master.log.1"))
    daemons.kill(signal.SIGHUP)
    wait_for(lambda: log.exists() and "log reopened" in log.read_text(), what="a new log")
    before = moved.read_text()

    daemons.amoc.run("add", 1)  # refused, and logged
    wait_for(lambda: "add: refused: there is no run" in log.read_text(), what="a new line")
    assert moved.read_text() == before
    assert log.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", ["master", "node"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_daemon_and_its_files(
    daemons: Daemons, kind: Kind, number: signal.Signals
) -> None:
    daemons.master()
    daemons.node()
    daemons.kill(number, kind)
    daemons.expect_end(kind)
    assert daemons.log(kind).splitlines()[-2].endswith(f"INFO {kind} ends: {number.name}")
    assert daemons.log(kind).splitlines()[-1].endswith(f"INFO {kind} ended")


def test_a_run_outlives_the_master_that_was_told_to_end(daemons: Daemons, amoc: Amoc) -> None:
    path = amoc.scenario(SCENARIO)
    daemons.master()
    daemons.node()
    run = daemons.json("do", path, 1, 5, "--repeat-interval", "100ms")["run"]
    before = daemons.json("status")["operations"]
    daemons.kill(signal.SIGTERM)
    daemons.expect_end("master")

    said = daemons.master()
    assert said.endswith(f"\nit continues run {run}\n")
    status = daemons.json("status")
    assert (status["run"], status["status"]) == (run, "running")
    wait_for(lambda: daemons.json("status")["operations"] != before, what="news of the run")
    daemons.good("stop")
    assert [one["status"] for one in daemons.json("runs")["runs"]] == ["finished"]


def test_the_log_tells_of_a_run_in_lines_without_values(daemons: Daemons, amoc: Amoc) -> None:
    path = amoc.scenario(
        "from amoc_gevent import settings, user\n\n"
        "token = settings.declare('token', 'public', 'what opens doors', update=True)\n\n\n"
        "def start(user_id):\n    user.sleep(0.05)\n"
    )
    daemons.master()
    daemons.node()
    run = daemons.json("do", path, 1, 5, "--set", "token=open-sesame")["run"]
    daemons.good("set", "token", "open-barley")
    daemons.good("add", 2)
    daemons.good("stop")
    wait_for(lambda: f"run {run} finished" in daemons.log(), what="the last line of the run")
    told = [line.partition(" INFO ")[2] for line in daemons.log().splitlines()]
    assert [line.removeprefix(f"run {run}") for line in told[:-1] if run in line] == [
        ": start: mine with users 1 to 5",
        ": set: token",
        ": add: 2 users, 6 to 7",
        ": stop: gently",
    ]
    assert re.fullmatch(rf"run {run} finished after \d+\.\d s, 0 operations", told[-1])
    assert "open-" not in daemons.log()


def test_a_node_that_ends_takes_its_workers_with_it(daemons: Daemons, amoc: Amoc) -> None:
    path = amoc.scenario(SCENARIO)
    daemons.master()
    daemons.node()
    daemons.good("do", path, 1, 5)
    assert len(amoc.processes()) == 3
    daemons.kill(signal.SIGTERM, "node")
    daemons.expect_end("node")
    wait_for(lambda: len(amoc.processes()) == 1, what="the end of the workers")
    assert list(amoc.sockets.iterdir()) == []


def test_shutdown_ends_both_and_a_second_one_finds_none(daemons: Daemons, amoc: Amoc) -> None:
    daemons.master()
    daemons.node()
    pids = daemons.pid("master"), daemons.pid("node")
    ended = daemons.json("shutdown")
    assert (ended["master"], ended["node"]) == pids
    daemons.expect_end("master")
    daemons.expect_end("node")
    assert amoc.run("shutdown") == (1, f"amoc: no daemon runs in {daemons.home.path}\n")
    assert amoc.run("shutdown", "node") == (1, f"amoc: no node runs in {daemons.home.path}\n")


def test_shutdown_of_one_leaves_the_other(daemons: Daemons) -> None:
    daemons.master()
    daemons.node()
    daemons.good("shutdown", "node")
    daemons.expect_end("node")
    assert daemons.pid("master") is not None


def test_shutdown_is_refused_while_a_run_goes_on_but_not_by_force(
    daemons: Daemons, amoc: Amoc
) -> None:
    path = amoc.scenario(SCENARIO)
    daemons.master()
    daemons.node()
    run = daemons.json("do", path, 1, 5)["run"]

    code, said = amoc.run("shutdown")
    assert code == 1
    assert said == (
        f"amoc: run {run} is running: `amoc stop` it first, or say --force to stop it now\n"
    )
    assert "takes part in a run" in amoc.run("shutdown", "node")[1]
    assert daemons.json("status")["status"] == "running"

    daemons.good("shutdown", "--force")
    daemons.expect_end("master")
    daemons.expect_end("node")


def test_shutdown_by_force_kills_a_daemon_that_hangs(daemons: Daemons) -> None:
    daemons.master()
    pid = daemons.kill(signal.SIGSTOP)
    with pytest.raises(AmocError, match=rf"pid {pid}\) does not answer; --force kills it"):
        end(daemons.home, "master", force=False, timeout=0.2)
    assert end(daemons.home, "master", force=True, timeout=0.2) == pid
    assert daemons.pid() is None


def test_an_interrupted_start_leaves_no_daemon(daemons: Daemons, amoc: Amoc) -> None:
    starting = amoc.start("master")
    wait_for(lambda: len(amoc.processes()) > 1 or starting.popen.poll() is not None, what="a child")
    if starting.popen.poll() is None:
        starting.popen.send_signal(signal.SIGINT)
    code = starting.wait()
    # Either it was in time and nothing runs, or it was done and the daemon answers.
    wait_for(lambda: (daemons.pid() is None) == (code != 0), what="the daemon that was promised")


def test_in_the_foreground_a_service_manager_is_told(daemons: Daemons, amoc: Amoc) -> None:
    address = amoc.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(20)
        process = amoc.start("master", "--foreground", env={"NOTIFY_SOCKET": str(address)})
        ready = manager.recv(4096).decode()
        assert ready.startswith("READY=1\nSTATUS=without --bind only the node")
        assert daemons.describe()["pid"] == process.pid
        process.popen.terminate()
        assert manager.recv(4096) == b"STOPPING=1\n"
    assert process.wait() == 0
    assert not daemons.home.log_file("master").exists()
    assert f"pid {process.pid}: without --bind" in process.said()


def test_an_abstract_notify_socket_is_told_as_well(daemons: Daemons, amoc: Amoc) -> None:
    name = f"amoc-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(20)
        process = amoc.start("master", "--foreground", env={"NOTIFY_SOCKET": "@" + name})
        assert manager.recv(4096).startswith(b"READY=1\n")
    process.popen.terminate()
    assert process.wait() == 0


def test_hup_in_the_foreground_does_no_harm(daemons: Daemons, amoc: Amoc) -> None:
    process = amoc.start("master", "--foreground")
    process.expect("only the node")
    process.popen.send_signal(signal.SIGHUP)
    assert daemons.describe()["pid"] == process.pid
    process.popen.terminate()
    assert process.wait() == 0


def test_the_units_start_what_there_is() -> None:
    for kind in ("master", "node"):
        unit = (ROOT / f"deploy/amoc-{kind}.service").read_text()
        found = re.search(r"^ExecStart=\S+/bin/amoc (.*) \$AMOC_\w+$", unit, re.MULTILINE)
        assert found is not None
        assert "Type=notify" in unit
        words = [*found[1].split(), "--help"]
        done = subprocess.run([sys.executable, "-m", "amoc_gevent", *words], check=False, cwd=ROOT)
        assert done.returncode == 0
