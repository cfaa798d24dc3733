"""`make prepare`, `make deploy` and their like, on machines with a real sshd."""

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from gevent import subprocess

from tests import rights
from tests.hosts.fleet import Fleet
from tests.net.conftest import plugged
from tests.net.network import Host
from tests.servers import wait_for

pytestmark = pytest.mark.timeout(500)  # making the release installs all that amoc needs

NAMES = ("master", "n1", "n2")
PORT_RANGE = "net.ipv4.ip_local_port_range"


def test_from_nothing_to_a_cluster_that_runs_a_scenario(fleet: Fleet) -> None:
    would = fleet.lines(fleet.good("deploy", "CHECK=1"))
    assert all(row.startswith("would change  release ") for row in would.values())
    assert not (fleet.machines[0].directory / "opt").exists()

    said = fleet.good("prepare", "deploy")
    assert "3 hosts: 3 changed, 0 unchanged, none failed" in said
    assert joined(said) == {"n1", "n2"}

    again = fleet.good("prepare", "deploy")
    assert again.count("3 hosts: 0 changed, 3 unchanged, none failed") == 2
    assert set(fleet.lines(again).values()) == {"ok       nothing to change"}

    status = fleet.lines(fleet.good("status"))
    assert re.fullmatch(r"release \w+(-dirty)?; master runs, pid \d+", status["master"])
    assert re.fullmatch(r"release \w+(-dirty)?; node runs, pid \d+", status["n1"])

    with served(fleet) as target:
        run = f"do http_hello 1 8 --user-rate 100/s --repeat-interval 100ms --set url={target.url}"
        fleet.good("attach", text=f"{run}\n")
        wait_for(lambda: target.count() > 100, 30, "load from the nodes")
        fleet.good("attach", text="stop\n")
        told = json.loads(_amoc(fleet, "summary", "--json"))
        assert told["operations"]["GET /"]["count"] == target.count() > 100
        assert told["users"]["started"] == 8

    logged = fleet.good("logs", "LINES=50")
    for start in ("master master: ", "n1 node: ", "n2 node: "):
        assert any(line.startswith(start) for line in logged.splitlines())

    stopped = fleet.lines(fleet.good("stop"))
    assert stopped["master"].endswith("master stopped")
    assert stopped["n2"].endswith("node stopped")
    assert fleet.good("stop").count("nothing to change") == 3
    secrets = {(host.home / "keys/own.secret").read_text() for host in fleet.machines}
    assert len(secrets) == 3


def joined(said: str) -> set[str]:
    """Return the nodes of the table that ends what was said."""
    rows = said.rsplit("\n\n", maxsplit=1)[-1].splitlines()[1:]
    return {row.split()[0] for row in rows if not re.match(r"make(\[\d+\])?: ", row)}


class Counting:
    """A demo server on the desk's host, and how often it was asked for its page."""

    def __init__(self, host: Host) -> None:
        command = [sys.executable, "-m", "amoc_gevent", "demo", "http", "--host", host.address]
        self._host = host
        self.process = host.start([*command, "--port", "0"])
        self.url = self.process.expect(r"^listening on (http://\S+)$").group(1)

    def count(self) -> int:
        """Return how many requests came for /."""
        code = "import sys,urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
        process = self._host.start([sys.executable, "-c", code, f"{self.url}/count"])
        assert process.wait() == 0, process.said()
        found: int = json.loads(process.said())["total"]
        return found


@contextmanager
def served(fleet: Fleet) -> Iterator[Counting]:
    target = Counting(fleet.desk)
    yield target
    target.process.stop()


def _amoc(fleet: Fleet, *words: str) -> str:
    """Run amoc on the master's machine, as it was deployed there."""
    master = fleet.machines[0]
    process = master.start([master.directory / "opt/bin/amoc", *words])
    assert process.wait(60) == 0, process.said()
    return process.said()


def test_prepare_keeps_what_was_and_unprepare_brings_it_back(fleet: Fleet) -> None:
    host = fleet.machines[1]
    before = fleet.sysctl(host, PORT_RANGE)
    desk = fleet.sysctl(fleet.desk, PORT_RANGE)
    assert before != "1024 65535"

    would = fleet.good("prepare", "CHECK=1")
    assert f"would change  file limit, {PORT_RANGE} " in would
    assert fleet.sysctl(host, PORT_RANGE) == before
    assert not (host.directory / "etc").exists()

    fleet.good("prepare")
    assert fleet.sysctl(host, PORT_RANGE) == "1024 65535"
    assert fleet.sysctl(host, "net.ipv4.tcp_fin_timeout") == "15"
    settings = (host.directory / "etc/sysctl.d/90-amoc.conf").read_text()
    assert f"{PORT_RANGE} = 1024 65535\n" in settings
    assert "fs.file-max" not in settings
    assert "nofile 500000" in (host.directory / "etc/security/limits.d/90-amoc.conf").read_text()
    assert "0 changed, 3 unchanged" in fleet.good("prepare")
    assert fleet.sysctl(fleet.desk, PORT_RANGE) == desk

    fleet.good("unprepare")
    assert fleet.sysctl(host, PORT_RANGE) == before
    assert [path for path in (host.directory / "etc").rglob("*") if path.is_file()] == []
    assert "0 changed, 3 unchanged" in fleet.good("unprepare")


@contextmanager
def full_disk(fleet: Fleet, host: Host) -> Iterator[None]:
    """Have the place of the release be a file system of 2 MB."""
    rights.MOUNTS.need()
    place = host.directory / "opt"
    place.mkdir()
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)])
    try:
        fleet.restart_sshd(host)
        yield
    finally:
        subprocess.check_call(["umount", "--lazy", str(place)])


def old_python(directory: Path, version: str) -> Path:
    """A Python that says that it is of another version, and finds no other one."""
    number = tuple(int(part) for part in version.split("."))
    found = directory / "python3"
    found.write_text(
        f"#!/bin/sh\nPATH={directory} exec {Path(sys.executable).resolve()} -c"
        f' "import sys;sys.version_info={number};$2"\n'
    )
    found.chmod(0o755)
    return found


def break_key(fleet: Fleet, host: Host) -> None:
    fleet.let_in(
        host, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoSA1uTrQfXSRvkh5Zl5g1eH1pQTv5bBRbT7MpPkLbZ x\n"
    )


FAULTS = {
    "down": r"ssh: connect to host 10\.77\.0\.\d+ port 22: .*(timed out|No route)",
    "stranger": r"ssh: .*Permission denied \(publickey",
    "full": r".*/opt/bin cannot take the release of \d+ MB: no space left on device, [\d.]+",
    "old": r"its Python is 3\.9, and the release needs 3\.\d+: install python3",
    "ancient": r".*python3 there is Python 3\.4, which is too old",
}


@pytest.mark.parametrize("fleet", [["n1", *FAULTS]], indirect=True)
def test_machines_that_fail_are_named_and_the_others_are_done(fleet: Fleet) -> None:
    down, stranger, full, old, ancient = fleet.machines[2:]
    down.link_down()
    break_key(fleet, stranger)
    for host, version in ((old, "3.9"), (ancient, "3.4")):
        python = old_python(host.directory, version)
        fleet.extra[host.name] = f"ansible_python_interpreter={python}"
    fleet.write()
    with full_disk(fleet, full):
        code, said = fleet.make("deploy")

    rows = fleet.lines(said)
    for name, fault in FAULTS.items():
        assert re.match(rf"failed\s+{fault}", rows[name]), said
    assert rows["master"].startswith("changed ")
    assert rows["n1"].startswith("changed ")
    assert f"7 hosts: 2 changed, 0 unchanged, 5 failed: {', '.join(FAULTS)}" in said
    assert "Traceback" not in said
    assert code != 0
    assert joined(said) == {"n1"}


def test_the_exit_code_is_one_when_a_machine_failed_and_two_for_bad_usage(fleet: Fleet) -> None:
    fleet.machines[2].link_down()
    amoc = [sys.executable, "-m", "amoc_gevent", "hosts", "status", "--inventory", fleet.inventory]
    process = fleet.desk.start(amoc)
    assert process.wait(60) == 1, process.said()
    assert fleet.desk.start([*amoc, "--limit", "n7"]).wait() == 2


def test_a_machine_that_is_mended_is_deployed_to_alone(fleet: Fleet) -> None:
    host = fleet.machines[2]
    host.link_down()
    code, _ = fleet.make("deploy")
    assert code != 0
    host.link_up()

    said = fleet.good("deploy", "LIMIT=n2")

    assert list(fleet.lines(said.split("\n\n")[0])) == ["n2"]
    assert "1 host: 1 changed" in said
    assert joined(said) == {"n1", "n2"}


def test_the_doctor_examines_all_nodes_and_whether_they_reach_the_master(fleet: Fleet) -> None:
    with served(fleet) as target:
        amoc = [sys.executable, "-m", "amoc_gevent", "doctor", "http_hello", "20"]
        amoc += [
            "--hosts",
            str(fleet.inventory),
            "--probe-time",
            "3s",
            "--set",
            f"url={target.url}",
        ]
        process = fleet.desk.start(amoc)
        assert process.wait(120) == 1, process.said()
        assert re.search(r"will break: n1: 10\.77\.0\.\d+:5710 does not answer", process.said())
        assert re.search(r"^n2, 10 users:$", process.said(), re.MULTILINE)

        fleet.good("deploy")
        process = fleet.desk.start(amoc)
        assert process.wait(120) == 0, process.said()
        assert "nothing will break at 20 users" in process.said()


@pytest.fixture
def users_fleet(release: Path) -> Iterator[Fleet]:
    """A master and a node whose daemons are amoc's: a user whom `prepare` makes there."""
    rights.OTHER_USER.need()
    rights.MOUNTS.need()
    with (
        tempfile.TemporaryDirectory(prefix="amoc-") as directory,  # which others can enter
        plugged(["desk", "master", "n1"], Path(directory)) as net,
    ):
        Path(directory).chmod(0o755)
        fleet = Fleet(net, ["n1"], release, own_users=True)
        fleet.user, fleet.master_loads = "amoc", True
        fleet.write()
        yield fleet
        fleet.end()


def test_the_daemons_are_of_the_user_whom_hosts_ini_names(users_fleet: Fleet) -> None:
    fleet = users_fleet
    assert joined(fleet.good("prepare", "deploy")) == {"master", "n1"}

    master, n1 = fleet.machines
    for host, kind in ((master, "master"), (master, "node"), (n1, "node")):
        pid = int((host.home / f"{kind}.pid").read_text().split()[0])
        uid = fleet.uid(host, "amoc")
        assert uid != 0
        assert psutil.Process(pid).uids().effective == uid
        assert (host.home / "keys/own.secret").stat().st_uid == uid
    assert fleet.good("prepare", "deploy", "CHECK=1").count("0 would change") == 2
    status = fleet.lines(fleet.good("status"))
    runs = r"release \w+(-dirty)?; node runs, pid \d+; master runs, pid \d+"
    assert re.fullmatch(runs, status["master"])
    assert "n1 node: " in fleet.good("logs")
    assert fleet.good("stop").count(" stopped") == 3
    fleet.good("unprepare")


def test_the_prompt_of_that_user_starts_a_scenario_of_the_release(users_fleet: Fleet) -> None:
    fleet = users_fleet
    fleet.good("prepare", "deploy")
    with served(fleet) as target, closing(fleet.terminal("attach")) as terminal:
        run = f"do http_hello 1 10 --user-rate 100/s --set url={target.url}\r".encode()
        terminal.expect(b"attached to the master")
        terminal.expect(b"amoc>")
        terminal.type(run)
        terminal.expect(b": 10 users")
        terminal.expect(b"amoc>")
        terminal.type(run)
        terminal.expect(b"stop it before the next one")
        terminal.expect(b"amoc>")
        terminal.type(b"stop\r")
        terminal.expect(b" finished")
        terminal.expect(b"amoc>")
        terminal.type(f"do {fleet.machines[0].directory}/root/x.py 1 10\r".encode())
        terminal.expect(b"cannot be read: Permission denied")
        terminal.expect(b"amoc>")
        terminal.type(run)
        terminal.expect(b": 10 users")
        terminal.expect(b"amoc>")
        wait_for(lambda: target.count() > 20, 30, "load from the node")
        terminal.type(b"\x04")
        terminal.expect(b"of http_hello goes on")
        assert terminal.wait() == 0


def test_without_prepare_the_user_who_is_missing_is_named(users_fleet: Fleet) -> None:
    code, said = users_fleet.make("deploy")
    assert code != 0
    assert said.count("there is no user amoc: make prepare") >= 2
    assert "Traceback" not in said
    code, said = users_fleet.make("attach")
    assert code != 0
    assert said.startswith("amoc is not deployed there for user amoc: make prepare deploy\n")
