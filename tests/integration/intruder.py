"""Another user of this machine, who tries to listen to a master or to take its place.

    python -m tests.integration.intruder listen PLANS REPORTS
    python -m tests.integration.intruder pose PLANS REPORTS SCENARIO
    python -m tests.integration.intruder answer CONTROL_SOCKET

It starts as root and loads all that it needs, which may be where only root can read it. Then it
gives up all its rights, before it does anything. What it says is what became of it.
"""

import os
import socket
import sys

import gevent

from amoc_gevent.bus import addresses
from amoc_gevent.bus.directory import SocketDirectory
from amoc_gevent.control.local import LocalCluster
from amoc_gevent.core.run.commands import Do
from amoc_gevent.errors import AmocError
from amoc_gevent.master.master import Master
from amoc_gevent.node.home import NodeHome
from amoc_gevent.node.master_connection import MasterAddress
from amoc_gevent.node.node import Node

NOBODY = 65534
PAUSE_S = 0.02


def main(how: str, *arguments: str) -> None:
    """Do as the arguments say, until it is ended."""
    with LocalCluster(1):  # which imports the last of it
        pass
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    addresses.zmq_address = lambda endpoint: (
        endpoint
    )  # an intruder has no scruples about directories
    try:
        {"listen": _listen, "pose": _pose, "answer": _answer}[how](*arguments)
    except (OSError, AmocError) as error:
        say(f"kept out: {error}")


def _listen(plans: str, reports: str) -> None:
    """Join as a node, and tell what the plan says."""
    _knock(plans)
    home = NodeHome(SocketDirectory())
    node = Node("intruder", 1, MasterAddress(plans, reports), home, print)
    say("listening")
    told: object = None
    while True:
        gevent.sleep(PAUSE_S)
        if (node.status().joined, node._plan) != told:
            told = (node.status().joined, node._plan)
            say(f"joined: {node.status().joined}, settings: {node._plan.settings}")


def _knock(endpoint: str) -> None:
    """Raise OSError where a connection is refused, which ZeroMQ would keep to itself."""
    if endpoint.startswith("ipc://"):
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(endpoint.removeprefix("ipc://"))


def _pose(plans: str, reports: str, scenario: str) -> None:
    """Be the master, and have whoever joins run a scenario of one's own."""
    master = Master(plans, reports, lease=5.0)
    say("posing")
    while not master.nodes:
        gevent.sleep(PAUSE_S)
    master.handle(Do(scenario, 1, 1))
    say("obeyed")
    gevent.sleep(600)


def _answer(path: str) -> None:
    """Tell what is said to a socket that looks like a master's."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen()
        say("answering")
        say(f"heard {door.accept()[0].recv(1 << 16)!r}")


def say(text: str) -> None:
    """Tell the test."""
    print(text, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
