"""`amoc node`: the daemon that runs a machine's workers for a master."""

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from amoc_gevent import clock
from amoc_gevent.addresses import host_and_port
from amoc_gevent.cli.options import FOREGROUND, LOG_FILE, WORKERS, core_count
from amoc_gevent.cli.params import PORTS, TEXT, needs
from amoc_gevent.control.background import start
from amoc_gevent.control.client import Control
from amoc_gevent.core.answers import Answer, NodeStatus
from amoc_gevent.core.units import counted
from amoc_gevent.daemon import keys
from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import AmocError, UsageError

if TYPE_CHECKING:
    from amoc_gevent.core.run.commands import Command
    from amoc_gevent.node.node import Node

PORT = click.IntRange(1, 65535)
JOIN_S = 3.0
"""Seconds that a background start waits for the node to join: plans come every second."""

POLL_S = 0.05
LEAVE_PATIENCE_S = 5.0
"""Seconds that users have to finish their iteration when the node is stopped."""

log = logging.getLogger(__name__)
worker_log = logging.getLogger("amoc_gevent.worker")


class Where(NamedTuple):
    """The address of a node's master; without `host`, the master of its own home."""

    host: str | None
    port: int
    reports_port: int
    insecure: bool

    @property
    def name(self) -> str:
        """The master in a sentence."""
        return "the master of this home" if self.host is None else f"master {self.host}"

    def arguments(self) -> list[str]:
        """Return the equivalent command-line options."""
        if self.host is None:
            return []
        found = ["--master", self.host, "--port", str(self.port)]
        found += ["--reports-port", str(self.reports_port)]
        return found + (["--insecure"] if self.insecure else [])

    def warning(self) -> str:
        """Return the warning about --insecure."""
        return f"--insecure: whoever answers at {self.host} can run code as this user"


@click.command()
@click.option(
    "--master", "host", type=TEXT, metavar="HOST", help="Host of the master [this home's master]."
)
@click.option("--port", type=PORT, help="The master's port for the plan [5710].")
@click.option("--reports-port", type=PORT, help="The master's port for the reports [5711].")
@click.option("--name", type=TEXT, help="Name of this node [the host name].")
@WORKERS
@click.option("--insecure", is_flag=True, help="With --master: join without keys.")
@FOREGROUND
@LOG_FILE
def node(
    host: str | None,
    port: int | None,
    reports_port: int | None,
    name: str | None,
    workers: int | None,
    insecure: bool,
    foreground: bool,
    log_file: Path | None,
) -> None:
    """Start the node of this home (AMOC_HOME) in the background.

    It joins the master of this home. With --master, it joins a master on another machine, and both
    need keys. It joins as soon as the master answers, and again after each outage. It needs no open
    port. It logs to AMOC_HOME/log/node.log; SIGHUP reopens the file.
    """
    home = Home.current()
    if host is None:
        needs("--master HOST", port=port, reports_port=reports_port, insecure=insecure or None)
    else:
        keys.check_node(home, host, insecure=insecure)
    name = _checked_name(name or re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()))
    workers = workers or core_count()
    where = Where(host, port or PORTS[0], reports_port or PORTS[1], insecure)
    if foreground:
        _serve(home, name, workers, where, log_file=log_file)
        return
    daemon = start(home, "node", [*where.arguments(), "--name", name, "--workers", str(workers)])
    if insecure:
        click.echo(f"amoc: {where.warning()}", err=True)
    runs = f"node {name} runs, pid {daemon.pid}"
    joined = _joined(Control(home.socket("node")))
    click.echo(f"{runs}: {'joined' if joined else 'waiting for'} {where.name}")


def _checked_name(name: str) -> str:
    if not keys.NAME.fullmatch(name):
        raise UsageError(f"--name {name!r}: up to 64 letters, digits, '.', '_' and '-'")
    return name


def _joined(control: Control) -> bool:
    """Return whether the node joins its master within `JOIN_S`."""
    deadline = clock.monotonic() + JOIN_S
    while not _has_joined(control.answer({"command": "status"})):
        if clock.monotonic() > deadline:
            return False
        threading.Event().wait(POLL_S)
    return True


def _serve(home: Home, name: str, workers: int, where: Where, *, log_file: Path | None) -> None:
    """Run the node until a signal or a request ends it. Its workers end with it."""
    from amoc_gevent.control.server import ControlServer  # noqa: PLC0415  # only the daemon needs them:
    from amoc_gevent.daemon.daemon import Daemon  # noqa: PLC0415  # they load gevent
    from amoc_gevent.worker.health import raise_descriptor_limit  # noqa: PLC0415

    with Daemon(home, "node", log_file) as daemon:
        raise_descriptor_limit()
        if where.insecure:
            log.warning("%s", where.warning())
        with compose(home, name, workers, where, daemon.owns_home) as composed:

            def no_command(_command: "Command") -> object:
                raise AmocError(f"this is node {name}: send commands to {where.name}")

            services = {
                "status": lambda _: composed.status(where.host),
                **daemon.services(lambda force: _may_end(composed, force=force), daemon.as_node),
            }
            server = ControlServer(home.socket("node"), no_command, services)
            daemon.ready(f"{name}, {counted(workers, 'worker')}, for {where.name}")
            daemon.wait()
            composed.leave(LEAVE_PATIENCE_S)
            server.close()


def _has_joined(status: Answer) -> bool:
    return isinstance(status, NodeStatus) and status.joined


@contextmanager
def compose(
    home: Home, name: str, workers: int, where: Where, owns_home: Callable[[], bool]
) -> Iterator["Node"]:
    """Provide a node of `home` for the block; it joins the master at `where`.

    It changes the home only while `owns_home()`.
    """
    from amoc_gevent.bus.directory import SocketDirectory  # noqa: PLC0415  # only the daemon needs it
    from amoc_gevent.bus.sockets import Keys  # noqa: PLC0415  # only the daemon needs it
    from amoc_gevent.node.home import NodeHome  # noqa: PLC0415
    from amoc_gevent.node.master_connection import MasterAddress  # noqa: PLC0415
    from amoc_gevent.node.node import Node  # noqa: PLC0415

    plans, reports = home.bus
    pair = None
    if where.host is not None:
        ports = (where.port, where.reports_port)
        plans, reports = (f"tcp://{host_and_port(where.host, port)}" for port in ports)
        pair = None if where.insecure else keys.own_keypair(home)
    server = keys.master_key(home) or b""
    held = Keys(*pair, server) if pair is not None else None
    with ExitStack() as stack:
        found = Node(
            name,
            workers,
            MasterAddress(plans, reports, held),
            NodeHome(
                SocketDirectory(home.sockets),
                f"{socket.gethostname()}:{home.path}",
                home.path / "sources",
                owns_home,
            ),
            lambda line: worker_log.info("worker: %s", line),
        )
        stack.callback(found.close)
        yield found


def _may_end(composed: "Node", *, force: bool) -> None:
    """Raise AmocError if the node takes part in a run, unless `force` is given."""
    if composed.state in {"starting", "ready"} and not force:
        raise AmocError(
            f"node {composed.name} takes part in a run: `amoc stop` it on the master first, "
            "or say --force to leave it"
        )
