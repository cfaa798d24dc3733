"""What machines are asked to do, and what is told of each: without any machine."""

import threading
import zipfile
from pathlib import Path

import pytest

from amoc_gevent.errors import UsageError
from amoc_gevent.hosts import release, tasks
from amoc_gevent.hosts.inventory import Inventory, read
from amoc_gevent.hosts.ssh import HostError
from amoc_gevent.hosts.work import Outcome, on_all, summary_line

BUILT = release.Release(b"", "aa", "c0ffee", "3.11")


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    path = tmp_path / "hosts.ini"
    path.write_text(
        "[amoc-master]\nboss ansible_host=10.0.0.1 amoc_graphite=g:2003 amoc_graphite_prefix=t\n"
        "[amoc-nodes]\nplain\n"
        "odd amoc_home=/srv/home amoc_install_dir=/srv/amoc amoc_user=me amoc_workers=3\n"
        "[amoc:vars]\namoc_port=6000\n"
    )
    return read(path)


def test_master_and_nodes_are_started_with_what_hosts_ini_says(inventory: Inventory) -> None:
    boss, plain, odd = inventory.machines

    def options(machine: object, kind: str) -> str:
        task = tasks.start_task(machine, boss, kind, BUILT, check=False)  # type: ignore[arg-type]
        return " ".join(task["options"])

    ports = "--port 6000 --reports-port 5711"
    graphite = "--graphite g:2003 --graphite-prefix t"
    assert options(boss, "master") == f"--bind 0.0.0.0 {ports} {graphite}"
    assert options(plain, "node") == f"--name plain --master 10.0.0.1 {ports}"
    assert options(odd, "node") == f"--name odd --master 10.0.0.1 {ports} --workers 3"
    assert options(boss, "node") == "--name boss"  # it joins the master of its home


def test_a_unit_has_the_places_and_the_user_of_its_machine(inventory: Inventory) -> None:
    boss, plain, odd = inventory.machines
    usual = tasks.start_task(plain, boss, "node", BUILT, check=False)["unit"]
    assert usual == (tasks.UNITS / "amoc-node.service").read_text()

    lines = tasks.start_task(odd, boss, "node", BUILT, check=False)["unit"].splitlines()
    assert "ExecStart=/srv/amoc/bin/amoc node --foreground $AMOC_NODE" in lines
    assert "Environment=AMOC_HOME=/srv/home" in lines
    assert "WorkingDirectory=/srv/home" in lines
    assert "User=me" in lines
    assert not [line for line in lines if "StateDirectory" in line or "/var/lib/amoc" in line]


def test_a_machine_is_a_line_and_all_of_them_another(inventory: Inventory) -> None:
    boss, plain, odd = (Outcome(machine) for machine in inventory.machines)
    boss.take("prepare", {"changed": ["user amoc", "file limit"], "notes": [], "offset": 2.5})
    odd.failed = "ssh: no route to host"
    outcomes = [boss, plain, odd]

    assert [one.line(5, check=False) for one in outcomes] == [
        "boss   changed  user amoc, file limit; its clock is 2.5 s ahead of this machine's",
        "plain  ok       nothing to change",
        "odd    failed   ssh: no route to host",
    ]
    assert boss.line(5, check=True).startswith("boss   would change  user amoc")
    counts = "1 changed, 1 unchanged, 1 failed: odd"
    assert summary_line(outcomes, check=False) == f"3 hosts: {counts}"


def test_all_machines_are_done_at_once_and_one_that_failed_is_left_out(
    inventory: Inventory,
) -> None:
    outcomes = [Outcome(machine) for machine in inventory.machines]
    outcomes[0].failed = "before"
    together = threading.Barrier(2, timeout=20)

    def step(one: Outcome) -> None:
        together.wait()
        raise HostError(f"{one.machine.name} is full")

    on_all(outcomes, step)
    assert [one.failed for one in outcomes] == ["before", "plain is full", "odd is full"]


def test_a_release_says_what_it_is_and_anything_else_is_none(tmp_path: Path) -> None:
    path = tmp_path / "amoc"
    with pytest.raises(UsageError, match="`make release`"):
        release.read(path)
    path.write_text("#!/bin/sh\n")
    with pytest.raises(UsageError, match="is not a release of amoc"):
        release.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("site-packages/amoc_gevent/COMMIT", "c0ffee\n")
        archive.writestr("_launch.py", 'BUILT_FOR = "3.13"\n')
    found = release.read(path)
    assert (found.commit, found.python) == ("c0ffee", "3.13")
