"""Deploys the release and keys to all machines, then starts the master, then its nodes.

Each secret key is made on its own machine and stays there; only public keys are copied.
"""

import json
import threading
from collections.abc import Sequence

from amoc_gevent import clock
from amoc_gevent.core.answers import NodeList
from amoc_gevent.core.json_codec import from_json
from amoc_gevent.hosts import tasks
from amoc_gevent.hosts.inventory import Host, Inventory
from amoc_gevent.hosts.release import Release
from amoc_gevent.hosts.ssh import HostError, Ssh
from amoc_gevent.hosts.work import Outcome, on_all

JOIN_S = 30.0
POLL_S = 0.3


class Deployment:
    """One deployment of `release` to machines of `inventory`; `check` changes nothing."""

    def __init__(self, ssh: Ssh, inventory: Inventory, release: Release, *, check: bool) -> None:
        self._ssh = ssh
        self._master = inventory.master
        self._release = release
        self._check = check
        self._keys: dict[str, str] = {}

    def run(self, machines: Sequence[Host]) -> list[Outcome]:
        """Deploy to `machines` and add their keys to the master; return an outcome for each."""
        outcomes = [Outcome(machine) for machine in machines]
        on_all(outcomes, self._install)
        master = next((one for one in outcomes if one.machine is self._master), None)
        leading = master or Outcome(self._master)
        if master is None:
            on_all([leading], self._look_at_master)
        on_all([leading], self._set_up_master)
        nodes = [one for one in outcomes if one.machine.is_node]
        for node in nodes:
            if leading.failed and not node.failed:
                node.failed = f"its master {self._master.name} failed: {leading.failed}"
        on_all(nodes, self._join)
        if not self._check:
            self._await(leading, nodes)
        return outcomes

    def _install(self, outcome: Outcome) -> None:
        machine = outcome.machine
        found = self._ssh.ask(machine, {"verb": "look", **tasks.common_fields(machine)})
        missing = found["release"] != self._release.sha256 and not self._check
        task = tasks.install_task(machine, self._release, check=self._check)
        answer = outcome.take(
            "install", self._ssh.ask(machine, task, self._release.data if missing else b"")
        )
        if answer["key"]:
            self._keys[machine.name] = answer["key"]

    def _look_at_master(self, outcome: Outcome) -> None:
        """Get the key of a master that is not among the machines."""
        own = json.loads(self._output_of(outcome.machine, "keys"))["own"]
        if own:
            self._keys[self._master.name] = own

    def _set_up_master(self, outcome: Outcome) -> None:
        """Add the nodes' keys to the master, and start it if it is among the machines."""
        machine = outcome.machine
        self._trust(outcome, {n: k for n, k in self._keys.items() if n != machine.name}, None)
        if "install" in outcome.answers:
            self._start(outcome, "master")

    def _join(self, outcome: Outcome) -> None:
        machine = outcome.machine
        if machine is not self._master:
            self._trust(outcome, {}, self._keys.get(self._master.name))
        self._start(outcome, "node")

    def _trust(self, outcome: Outcome, allow: dict[str, str], master_key: str | None) -> None:
        if self._check and not self._keys:  # no keys exist yet
            return
        place = tasks.common_fields(outcome.machine)
        keys = {"verb": "trust", "check": self._check, "allow": allow, "master_key": master_key}
        outcome.take(
            "trust",
            self._ssh.ask(
                outcome.machine, {**keys, **tasks.release_fields(self._release), **place}
            ),
        )

    def _start(self, outcome: Outcome, kind: str) -> None:
        task = tasks.start_task(
            outcome.machine, self._master, kind, self._release, check=self._check
        )
        outcome.take("start", self._ssh.ask(outcome.machine, task))

    def _await(self, leading: Outcome, nodes: Sequence[Outcome]) -> None:
        """Wait until the master hears from all nodes. The others have failed."""
        waiting = [node for node in nodes if not node.failed]
        if leading.failed or not waiting:
            return
        deadline = clock.monotonic() + JOIN_S
        heard: set[str] = set()
        try:
            while not {node.machine.name for node in waiting} <= heard:
                if clock.monotonic() > deadline:
                    break
                threading.Event().wait(POLL_S)
                heard = self._heard()
        except HostError as error:
            leading.failed = str(error)
            return
        for node in waiting:
            if node.machine.name not in heard:
                node.failed = f"it did not join the master within {JOIN_S:.0f} s: make logs"

    def _heard(self) -> set[str]:
        answer = from_json(NodeList, json.loads(self._output_of(self._master, "nodes")))
        return {node.name for node in answer.nodes if node.state != "lost"}

    def _output_of(self, machine: Host, verb: str) -> str:
        """Return the output of `amoc VERB --json` on a machine."""
        words = {"verb": "command", "words": [verb, "--json"], "python": self._release.python}
        output: str = self._ssh.ask(machine, {**words, **tasks.common_fields(machine)})["said"]
        return output
