"""A cluster on hosts of its own, steered by the command line: master, nodes, a target, a proxy."""

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socket import AF_UNIX, socket
from typing import Any

import psutil

from amoc_gevent import clock
from tests.net.network import Host, Network
from tests.net.target import Target
from tests.servers import Process, wait_for

AMOC = [sys.executable, "-m", "amoc_gevent"]
NODES = ("n1", "n2", "n3")
HOSTS = ("master", *NODES, "proxy", "target")
PORTS = (5710, 5711)
WORKERS = 2
SLACK_S = 5.0
"""What may pass, beyond the lease, until all users are back after a fault."""


class Cluster:
    """A master and three nodes of two workers each; the last node's master is behind the proxy.

    `lease` (s) is how long a silent node is waited for, `stall` (s) how long the proxy stalls; they
    talk in the clear until they `exchange_keys`.
    """

    def __init__(self, net: Network, lease: float, stall: float = 3.0) -> None:
        self.net = net
        self.lease = lease
        self._trust = ["--insecure"]
        self.master = net.host("master")
        self.nodes = [net.host(name) for name in NODES]
        self.pids: dict[str, int] = {}
        self.target = Target(net.host("target"))
        self.proxy = self._start_proxy(stall)

    def _start_proxy(self, stall: float) -> Process:
        here, there = self.net.host("proxy").address, self.master.address
        pairs = [f"{here}:{port}={there}:{port}" for port in PORTS]
        command = [sys.executable, "-m", "tests.net.proxy", "--stall", stall, *pairs]
        process = self.net.host("proxy").start(command)
        process.expect(rf"^listening on {here}:{PORTS[-1]}$")
        return process

    def exchange_keys(self) -> None:
        """Make keys for the master and each node, and have them trust each other."""

        def said(host: Host, *arguments: str) -> str:
            process = host.start([*AMOC, "keys", *arguments])
            assert process.wait() == 0, process.said()
            return process.said().strip()

        key = said(self.master, "make")
        for node in self.nodes:
            said(self.master, "allow", node.name, said(node, "make"))
            said(node, "trust-master", key)
        self._trust = []

    def start_master(self) -> None:
        """Start the master's daemon, and return when it answers."""
        self._answers(self.master, self._launch(self.master))

    def start_node(self, host: Host) -> None:
        """Start a node's daemon, and return when it has joined."""
        self._answers(host, self._launch(host))

    def _launch(self, host: Host) -> Process:
        if host is self.master:
            command = ["master", "--bind", host.address, "--lease", f"{self.lease:g}s"]
        else:
            master = self.net.host("proxy") if host is self.nodes[-1] else self.master
            command = ["node", "--master", master.address, "--name", host.name]
            command += ["--workers", str(WORKERS)]
        return host.start([*AMOC, *command, *self._trust])

    def _answers(self, host: Host, process: Process) -> None:
        """Wait until a daemon that was launched answers, and a node has joined."""
        assert process.wait(40) == 0, process.said()
        self.pids[host.name] = int(process.expect(r"pid (\d+)").group(1))
        if host is not self.master:
            wait_for(lambda: self._hears(host.name), 20, f"{host.name} to join")

    def start(self, *, one_by_one: bool = False) -> None:
        """Start what is not there, and mend all links.

        The nodes start at once, or `one_by_one`, so that it is known in which order they join.
        """
        for host in self.net.hosts:
            host.heal()
            host.link_up()
        if not self._runs(self.master):
            self.start_master()
        absent = [node for node in self.nodes if not self._runs(node)]
        for group in [[node] for node in absent] if one_by_one else [absent]:
            for node, process in [(node, self._launch(node)) for node in group]:
                self._answers(node, process)
        self.until_present(*NODES)

    def _runs(self, host: Host) -> bool:
        return self.pids.get(host.name) in host.pids()

    def kill(self, host: Host) -> float:
        """Kill the daemon of a host with -9; return when it was gone."""
        pid = self.pids[host.name]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: pid not in host.pids(), what=f"the end of pid {pid}")
        return clock.monotonic()

    @contextmanager
    def frozen(self, host: Host) -> Iterator[None]:
        """Have all processes of a host stand still, in the middle of what they do."""
        pids = host.pids()
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def worker_pids(self, host: Host) -> list[int]:
        """Return the worker processes of a host's node."""
        node = psutil.Process(self.pids[host.name])
        return [child.pid for child in node.children() if "worker" in child.cmdline()]

    def stall_proxy(self) -> None:
        """Stall the proxy, and return when it flows again."""
        before = self.proxy.said().count("flowing")
        os.kill(self.proxy.pid, signal.SIGUSR1)
        wait_for(lambda: self.proxy.said().count("flowing") > before, 30, "the end of the stall")

    def amoc(self, *arguments: object) -> dict[str, Any]:
        """Run a command on the master's host to a good end; return its answer."""
        process = self.master.start([*AMOC, *arguments, "--json"])
        assert process.wait(60) == 0, process.said()
        answer: dict[str, Any] = json.loads(process.said())
        return answer

    def do(self, first: int, last: int, *options: object, **settings: str) -> None:
        """Start a run of `http_check` against the target."""
        given = {"url": self.target.url, "pause": "100ms", "requests": "20", **settings}
        sets = [word for pair in given.items() for word in ("--set", "=".join(pair))]
        rates = ["--user-rate", "200/s", "--repeat-interval", "100ms"]
        self.amoc("do", "http_check", first, last, *rates, *sets, *options)

    def status(self) -> dict[str, Any]:
        """Return what the master says of the run."""
        return self._ask("status")

    def present(self) -> list[dict[str, Any]]:
        """Return what the master says of the nodes that it hears, in the order of their joining."""
        told: list[dict[str, Any]] = self._ask("nodes")["nodes"]
        return [node for node in told if node["state"] != "lost"]

    def until_present(self, *names: str, timeout: float = 30.0) -> None:
        """Wait until the master hears these nodes, and no others."""

        def heard() -> bool:
            return {node["name"] for node in self.present()} == {*names}

        try:
            wait_for(heard, timeout, f"{', '.join(names)} to be heard")
        except AssertionError as error:
            raise AssertionError(f"{error}; nodes: {self._ask('nodes')['nodes']}") from None

    def _hears(self, name: str) -> bool:
        return name in [node["name"] for node in self.present()]

    def _ask(self, command: str) -> dict[str, Any]:
        """Ask the master over its control socket; a Unix socket is reached from everywhere."""
        with socket(AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(self.master.home / "master.sock"))
            sock.sendall(json.dumps({"command": command}).encode() + b"\n")
            answer = json.loads(sock.makefile("rb").readline())
        assert answer["ok"], answer
        result: dict[str, Any] = answer["result"]
        return result

    def users_at(self, host: Host) -> set[int]:
        """Return the users whom the target heard from a host lately."""
        seen = self.target.seen()
        return {user for user, address in seen.items() if address == host.address}

    def until_placed(self, places: dict[int, Host]) -> None:
        """Wait until the target hears exactly these users, each from its host."""
        expected = {user: host.address for user, host in places.items()}
        self.target.until_seen(places)
        wait_for(lambda: self.target.seen() == expected, 20, "each user at its node")

    def until_back(self, users: Iterable[int], since: float) -> None:
        """Wait until all users were heard after the moment `since`, for the lease and 5 s more."""
        self.target.until_back(users, since, self.lease + SLACK_S)

    def end(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Stop the run; return the figures of its operation and what the target found of it."""
        assert self.amoc("stop")["status"] == "finished"
        [(name, operation)] = self.status()["operations"].items()
        assert name == "GET /check"
        return operation, self.target.lives()
