"""The network for the tests of a cluster: what gets through, what is lost, and that all goes."""

import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from tests import rights
from tests.net.conftest import Plug
from tests.net.network import NAMESPACES, PREFIX, Host, Network, leftovers
from tests.servers import Process, wait_for

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
DAEMON = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(600)"


class Mailbox:
    """A UDP socket of one host: what is sent to it comes in order or not at all."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.sock = host.socket(socket.SOCK_DGRAM)
        self.sock.bind((host.address, 0))
        self.sock.setblocking(False)

    def send(self, other: "Mailbox", text: str) -> None:
        self.sock.sendto(text.encode(), other.sock.getsockname())

    def received(self) -> list[str]:
        """All that has come by now."""
        found = []
        while True:
            try:
                found.append(self.sock.recv(2048).decode())
            except BlockingIOError:
                return found

    def gets_through(self, other: "Mailbox", text: str = "still there?") -> list[str]:
        """Send until something of this text has come; return all that came up to it, too."""
        came: list[str] = []

        def arrived() -> bool:
            self.send(other, text)
            came.extend(other.received())
            return text in came

        wait_for(arrived, what=f"a packet from {self.host.name} to {other.host.name}")
        return came


def mailboxes(net: Network) -> list[Mailbox]:
    return [Mailbox(host) for host in net.hosts]


def namespaces() -> set[str]:
    """Those of this process's networks."""
    return {path.name for path in NAMESPACES.glob(f"{PREFIX}-{os.getpid()}.*")}


def test_all_hosts_reach_each_other(plug: Plug) -> None:
    boxes = mailboxes(plug(["a", "b", "c"]))
    for sender in boxes:
        for receiver in boxes:
            if sender is not receiver:
                sender.gets_through(receiver)


def test_networks_with_the_same_addresses_do_not_meet(plug: Plug) -> None:
    (a, b), (other_a, other_b) = mailboxes(plug(["a", "b"])), mailboxes(plug(["a", "b"]))
    assert a.host.address == other_a.host.address
    for port in {b.sock.getsockname()[1], other_b.sock.getsockname()[1]}:
        for sender, text in ((a, "here"), (other_a, "there")):
            sender.sock.sendto(text.encode(), (b.host.address, port))

    assert set(a.gets_through(b, "last")) <= {"here", "last"}
    assert set(other_a.gets_through(other_b, "last")) <= {"there", "last"}


def test_nothing_passes_a_link_that_is_down(plug: Plug) -> None:
    a, b, c = mailboxes(plug(["a", "b", "c"]))
    a.gets_through(b)
    b.gets_through(a)
    for box in (a, b):
        box.received()
    b.host.link_down()
    for number in range(20):
        a.send(b, f"to b {number}")
        b.send(a, f"from b {number}")
    a.gets_through(c)
    c.gets_through(a, "from c")
    assert b.received() == []
    assert a.received() == []

    b.host.link_up()

    a.gets_through(b)
    b.gets_through(a)


def test_who_is_cut_off_from_one_reaches_the_others(plug: Plug) -> None:
    a, b, c = mailboxes(plug(["a", "b", "c"]))
    a.host.cut_off(b.host)
    for number in range(20):
        a.send(b, f"{number}")
        b.send(a, f"{number}")
    for one in (a, b):
        one.gets_through(c)
        c.gets_through(one)

    a.host.heal()

    assert set(a.gets_through(b, "after")) == {"after"}
    assert set(b.gets_through(a, "after")) <= {"after", "still there?"}


@pytest.mark.parametrize("way", ["to the host", "from the host"])
def test_one_packet_in_twenty_is_lost_each_way(plug: Plug, way: str) -> None:
    a, b = mailboxes(plug(["a", "b"]))
    a.host.drop(one_in=20)
    sender, receiver = (b, a) if way == "to the host" else (a, b)
    came = 0
    for chunk in range(20):  # small ones, for a socket's buffer has room for some 270 packets
        for _ in range(100):
            sender.send(receiver, "data")
        came += sender.gets_through(receiver, f"end of {chunk}").count("data")

    lost = 2000 - came
    assert 50 <= lost <= 150, "the mean is 100, its standard deviation 9.7"
    a.host.heal()
    for _ in range(100):
        sender.send(receiver, "data")
    assert sender.gets_through(receiver, "end").count("data") == 100


def test_a_process_is_on_its_host_and_in_its_directories(plug: Plug) -> None:
    a, b = plug(["a", "b"]).hosts
    print_places = "import os; print(os.environ['AMOC_HOME'], os.environ['TMPDIR'])"
    told = a.start([sys.executable, "-c", print_places])
    assert told.wait() == 0, told.said()
    assert told.said().split() == [str(a.home), str(a.temporary)]
    assert a.home.is_dir()
    assert a.home != b.home

    sleeper = b.start(SLEEPER)
    sleeper.expect("up")
    assert b.pids() == [sleeper.pid]
    assert a.pids() == []
    os.kill(sleeper.pid, signal.SIGKILL)
    assert sleeper.wait() == -signal.SIGKILL


@pytest.mark.parametrize("ends_well", [True, False])
def test_at_the_end_all_is_gone_daemons_too(tmp_path: Path, ends_well: bool) -> None:
    rights.NETWORKS.need()
    before = namespaces()
    daemons: list[int] = []

    def work() -> None:
        with Network(["a", "b"], tmp_path) as net:
            a = net.host("a")
            assert a.start([sys.executable, "-c", DAEMON]).wait() == 0
            daemons.extend(a.pids())
            assert len(daemons) == 1
            assert len(namespaces() - before) == 3
            if not ends_well:
                raise KeyError("the test")

    if ends_well:
        work()
    else:
        with pytest.raises(KeyError):
            work()

    assert namespaces() == before
    wait_for(lambda: not psutil.pid_exists(daemons[0]), what="the end of the daemon")


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path, plug: Plug) -> None:
    rights.NETWORKS.need()
    run = f"""
import time
from pathlib import Path
from tests.net.network import Network
with Network(["a"], Path({str(tmp_path / "killed")!r})) as net:
    sleeper = net.host("a").start({SLEEPER!r})
    sleeper.expect("up")
    print("sleeper", sleeper.pid, flush=True)
    time.sleep(600)
"""
    with Process([sys.executable, "-c", run], tmp_path / "output") as process:
        sleeper = int(process.expect(r"^sleeper (\d+)$").group(1))
        mine = f"{PREFIX}-{process.pid}."
        assert not [name for name in leftovers() if name.startswith(mine)]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert len([name for name in leftovers() if name.startswith(mine)]) == 2
    assert psutil.pid_exists(sleeper)

    plug(["a"])

    assert not list(NAMESPACES.glob(f"{mine}*"))
    wait_for(lambda: not psutil.pid_exists(sleeper), what="the end of what ran there")
