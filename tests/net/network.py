"""Hosts for the tests: network namespaces on a switch of their own, with links that can be broken.

Each host is a namespace with one interface, `eth0`, which a veth pair joins to a bridge in one more
namespace. Nothing leads from there to the machine's own network, so any number of these networks
can be there at once under the same addresses. It takes root, iproute2 and iptables.
"""

import ctypes
import os
import re
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Self

import psutil
from gevent import subprocess

from tests.servers import Process, require, wait_for

PREFIX = "amoc-net"
SUBNET = "10.77.0"
NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000

_serial = count(1)
_libc = ctypes.CDLL(None, use_errno=True)


class Host:
    """One host: its `address`, a `directory` with its AMOC_HOME and TMPDIR, and its link."""

    def __init__(self, name: str, address: str, namespace: str, directory: Path) -> None:
        self.name = name
        self.address = address
        self.namespace = namespace
        self.directory = directory
        self.home = directory / "home"
        self.temporary = directory / "tmp"
        self.started: list[Process] = []
        self._switch = ""
        self._peers: Sequence[Host] = ()
        self._rules: list[tuple[str, list[str]]] = []

    def plug_in(self, switch: str, peers: Sequence["Host"]) -> None:
        """Make the namespace and join it to the bridge of `switch`; `peers` are its other hosts."""
        self._switch, self._peers = switch, peers
        for directory in (self.home, self.temporary):
            directory.mkdir(mode=0o700, parents=True)
        _ip("netns", "add", self.namespace)
        peer = ("peer", "name", "eth0", "netns", self.namespace)
        _ip("-n", switch, "link", "add", "name", self.name, "type", "veth", *peer)
        _ip("-n", switch, "link", "set", "dev", self.name, "master", "switch", "up")
        _ip("-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self.namespace, "link", "set", device, "up")

    def environment(self) -> dict[str, str]:
        """Return what tells a command started here where its files belong."""
        return {
            "AMOC_HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "XDG_RUNTIME_DIR": str(self.temporary),
        }

    def start(self, command: Sequence[object], env: Mapping[str, str] | None = None) -> Process:
        """Start a command on this host; its pid is that of the command itself."""
        enter = ["ip", "netns", "exec", self.namespace]
        process = Process(
            [*enter, *map(str, command)],
            self.directory / f"output-{len(self.started)}",
            env={"PATH": _path(), **self.environment(), **(env or {})},
        )
        self.started.append(process)
        return process

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be on this host: sockets made meanwhile are its own for good. The hub must not run."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(NAMESPACES / self.namespace, os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(back)
            os.close(there)
            os.close(back)

    def socket(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """Return a plain socket of this host."""
        with self.inside():
            return socket.socket(socket.AF_INET, kind)

    def pids(self) -> list[int]:
        """Return the processes that run here."""
        return _pids(self.namespace)

    def link_down(self) -> None:
        """Pull the cable, at the switch: nothing comes in or goes out until `link_up`."""
        _ip("-n", self._switch, "link", "set", "dev", self.name, "down")

    def link_up(self) -> None:
        """Put the cable back."""
        _ip("-n", self._switch, "link", "set", "dev", self.name, "up")

    def drop(self, one_in: int) -> None:
        """Lose one packet in `one_in`, by chance, of those that come and of those that go."""
        chance = f"{1 / one_in:.6f}"
        which = ["-m", "statistic", "--mode", "random", "--probability", chance]
        self._refuse(self, which)
        for peer in self._peers:
            self._refuse(peer, ["-s", self.address, *which])

    def cut_off(self, *others: "Host") -> None:
        """Lose all packets between this host and `others`; its link to the rest stays."""
        for other in others:
            self._refuse(self, ["-s", other.address])
            self._refuse(other, ["-s", self.address])

    def heal(self) -> None:
        """Undo `drop` and `cut_off`."""
        while self._rules:
            namespace, rule = self._rules.pop()
            _iptables(namespace, "-D", rule)

    def _refuse(self, at: "Host", which: Sequence[str]) -> None:
        """Have `at` drop packets as they come in: who sends them is told nothing, as in real."""
        rule = ["INPUT", "-i", "eth0", *which, "-j", "DROP"]
        _iptables(at.namespace, "-A", rule)
        self._rules.append((at.namespace, rule))


class Network:
    """Hosts that reach each other and nothing else, made by `with` and removed at its end.

    >>> with Network(["master", "n1", "target"], directory) as net:
    ...     net.host("target").start(["amoc", "demo", "http", "--host", "0.0.0.0"])
    """

    def __init__(self, names: Sequence[str], directory: Path) -> None:
        self._id = f"{_mark(os.getpid())}-{next(_serial)}"
        self._switch = f"{self._id}-switch"
        self.hosts = [
            Host(name, f"{SUBNET}.{number}", f"{self._id}-{name}", directory / name)
            for number, name in enumerate(names, 1)
        ]

    def host(self, name: str) -> Host:
        """Return the host called `name`."""
        return next(host for host in self.hosts if host.name == name)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Make the hosts and join them; CalledProcessError where the kernel refuses it."""
        remove_leftovers()
        try:
            _ip("netns", "add", self._switch)
            bridge = ("link", "add", "switch", "type", "bridge", "forward_delay", "0")
            _ip("-n", self._switch, *bridge)
            _ip("-n", self._switch, "link", "set", "switch", "up")
            for host in self.hosts:
                host.plug_in(self._switch, [peer for peer in self.hosts if peer is not host])
        except BaseException:
            self._remove()
            raise

    def close(self) -> None:
        """End what was started on the hosts, and all else that runs there; remove them."""
        for process in (one for host in reversed(self.hosts) for one in reversed(host.started)):
            process.stop()
        self._remove()

    def _remove(self) -> None:
        for namespace in (*(host.namespace for host in self.hosts), self._switch):
            _remove(namespace)


def leftovers() -> list[str]:
    """Return the namespaces of networks whose process has ended without removing them."""
    found = []
    for path in NAMESPACES.glob(f"{PREFIX}-*"):
        mark = re.match(rf"{PREFIX}-(\d+)\.\d+", path.name)
        if mark is not None and _mark(int(mark[1])) != mark[0]:
            found.append(path.name)
    return found


def remove_leftovers() -> None:
    """Remove what killed test runs have left: their namespaces and the processes in them."""
    for namespace in leftovers():
        _remove(namespace)


def _mark(pid: int) -> str:
    """Return how the names of a process's networks begin; another process's never do."""
    began = 0
    with suppress(psutil.Error):
        began = int(psutil.Process(pid).create_time())
    return f"{PREFIX}-{pid}.{began}"


def _remove(namespace: str) -> None:
    """Kill what runs in `namespace` and delete it; it may be gone already."""

    def ended() -> bool:
        left = _pids(namespace)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_for(ended, what=f"the end of all processes in {namespace}")
    with suppress(subprocess.CalledProcessError):
        _ip("netns", "delete", namespace)
    assert not (NAMESPACES / namespace).exists(), f"{namespace} is still there"


def _pids(namespace: str) -> list[int]:
    if not (NAMESPACES / namespace).exists():
        return []
    with suppress(subprocess.CalledProcessError):  # it went meanwhile
        return [int(word) for word in _ip("netns", "pids", namespace).split()]
    return []


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


def _path() -> str:
    """Return a PATH that has what only root needs, which not every root's has."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _ip(*arguments: str) -> str:
    return _run([require("ip", "iproute2"), *arguments])


def _iptables(namespace: str, how: str, rule: Sequence[str]) -> None:
    iptables = require("iptables", "iptables")
    _run([require("ip", "iproute2"), "netns", "exec", namespace, iptables, "-w", how, *rule])


def _run(command: Sequence[str]) -> str:
    """Run a command to its end; return what it said, or raise with what it said as a note."""
    environment = {**os.environ, "PATH": _path(), "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        failure = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        failure.add_note(done.stderr)
        raise failure
    return str(done.stdout)
