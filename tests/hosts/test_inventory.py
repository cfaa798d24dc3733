"""hosts.ini: what it says of each machine, and each mistake in a line that names its place."""

from pathlib import Path

import pytest

from amoc_gevent.errors import UsageError
from amoc_gevent.hosts.inventory import read
from tests.servers import ROOT

GOOD = """
; all of it
[amoc-master]
boss ansible_host=10.0.0.1 amoc_graphite=g:2003   # who sends

[amoc-nodes]
boss
load[08:11].example.org amoc_workers=2
last ansible_ssh_common_args='-J gate -o Foo=bar'

[amoc:children]
amoc-master
amoc-nodes

[amoc:vars]
ansible_user = root
amoc_user=me   # a comment
amoc_workers=9

[amoc-nodes:vars]
amoc_home="/srv/a b"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hosts.ini"
    path.write_text(text)
    return path


def test_groups_ranges_and_variables_are_those_of_ansible(tmp_path: Path) -> None:
    inventory = read(written(tmp_path, GOOD))

    names = [machine.name for machine in inventory.machines]
    loads = [f"load{n}.example.org" for n in ("08", "09", "10", "11")]
    assert names == ["boss", *loads, "last"]
    boss, first, *_, last = inventory.machines
    assert inventory.master is boss
    assert boss.is_node
    assert (boss.address, first.address) == ("10.0.0.1", "load08.example.org")
    assert (boss["amoc_graphite"], first["amoc_graphite"]) == ("g:2003", "")
    assert [one["amoc_workers"] for one in (boss, first, last)] == ["9", "2", "9"]
    assert (boss["ansible_user"], boss["amoc_user"]) == ("root", "me")
    assert first["amoc_home"] == "/srv/a b"
    assert first["amoc_install_dir"] == "/opt/amoc"
    assert last["ansible_ssh_common_args"] == "-J gate -o Foo=bar"


def test_a_limit_names_some_of_them(tmp_path: Path) -> None:
    inventory = read(written(tmp_path, GOOD))
    assert [m.name for m in inventory.limited("last, boss")] == ["boss", "last"]
    assert len(inventory.limited("")) == 6
    with pytest.raises(UsageError, match=r"no host load8.example.org, did you mean load08"):
        inventory.limited("load8.example.org")


def test_the_one_that_comes_with_it_is_read(tmp_path: Path) -> None:
    text = (ROOT / "hosts.ini").read_text()
    assert len(read(written(tmp_path, text)).nodes) == 6
    every = "\n".join(line.removeprefix("#") if line.startswith("#a") else line
                      for line in text.splitlines())  # fmt: skip
    machine = read(written(tmp_path, every)).machines[1]
    assert machine["amoc_workers"] == "4"
    assert machine["amoc_graphite"] == "graphite.example.org:2003"
    assert machine["amoc_keep_sysctls"] == "fs. net.core."


MASTER = "[amoc-master]\nm\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MASTER, r"\[amoc-nodes\] must have a host"),
        ("[amoc-nodes]\nn\n", r"\[amoc-master\] must have one host, not 0"),
        ("[amoc-master]\na\nb\n[amoc-nodes]\nn\n", "must have one host, not 2"),
        ("lonely\n", r"hosts.ini:1: 'lonely' must come after"),
        (MASTER + "[amoc-node]\nn\n", r"hosts.ini:3: there is no section \[amoc-node\]"),
        (MASTER + "[amoc:var]\n", r"hosts.ini:3: there is no section \[amoc:var\]"),
        (
            MASTER + "[amoc-nodes]\nn amoc_worker=2\n",
            ":4: .*, did you mean amoc_workers",
        ),
        (
            MASTER + "[amoc-nodes]\nn amoc_workers=two\n",
            ":4: amoc_workers must be a whole number above zero",
        ),
        (
            MASTER + "[amoc-nodes]\nn amoc_workers=0\n",
            ":4: amoc_workers must be a whole number above zero",
        ),
        (MASTER + "[amoc-nodes]\nn amoc_workers=4097\n", ":4: amoc_workers must be .* at most"),
        (MASTER + "[amoc-nodes]\nn ansible_port=65536\n", ":4: ansible_port must be .* at most"),
        (MASTER + "[amoc-nodes]\nn amoc_port=" + "9" * 5000, ":4: amoc_port must be .* at most"),
        (MASTER + "[amoc-nodes]\nn amoc_port=\u0661\n", ":4: amoc_port must be a whole number"),
        (
            MASTER + "[amoc-nodes]\nn ansible_host=-oProxyCommand=x",
            ":4: ansible_host must not",
        ),
        (MASTER + "[amoc-nodes]\nn ansible_user='-oX=y'\n", ":4: ansible_user must not begin"),
        (MASTER + "[amoc:vars]\namoc_user=-x\n", ":4: amoc_user must not begin"),
        (MASTER + "[amoc-nodes]\nn[1:" + "9" * 5000 + "]\n", ":4: .*is no host name"),
        (MASTER + "[amoc-nodes]\nn[3:1]\n", ":4: .*must go upwards"),
        (MASTER + "[amoc-nodes]\nn[1:99999]\n", ":4: .*1000 hosts at most"),
        (MASTER + "[amoc-nodes]\n-oProxyCommand=x\n", ":4: .*is no host name"),
        (MASTER + "[amoc-nodes]\nn 'x\n", ":4: No closing quotation"),
        (MASTER + "[amoc:children]\nothers\n", ":4: .*not others"),
    ],
)
def test_a_mistake_is_a_line_that_names_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(written(tmp_path, text))


def test_a_file_that_is_missing_is_told_where_one_is_shown(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No such file.*hosts\.ini of the checkout"):
        read(tmp_path / "hosts.ini")
