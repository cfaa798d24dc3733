"""`amoc master`: the daemon that publishes the plan and answers all commands."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from amoc_gevent.addresses import host_and_port
from amoc_gevent.cli.options import FOREGROUND, LOG_FILE
from amoc_gevent.cli.outputs import output_options
from amoc_gevent.cli.params import DURATION, PORTS, needs
from amoc_gevent.control.background import start
from amoc_gevent.core.answers import MasterDaemon
from amoc_gevent.daemon import keys
from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import AmocError, UsageError

if TYPE_CHECKING:
    from amoc_gevent.master.master import Master
    from amoc_gevent.output.option_types import Chosen

log = logging.getLogger(__name__)

PORT = click.IntRange(0, 65535)
LEASE_S = 15.0
LEASE_MIN_S = 2.0
STOP_PATIENCE_S = 10.0


@click.command()
@click.option("--bind", metavar="ADDRESS", help="Listen here for nodes on other machines.")
@click.option("--port", type=PORT, help="Port for the plan [5710].")
@click.option("--reports-port", type=PORT, help="Port for the reports [5711].")
@click.option(
    "--lease",
    type=DURATION,
    default=LEASE_S,
    help="Time until other nodes take over the users of a silent node [15s].",
)
@click.option("--insecure", is_flag=True, help="With --bind: accept all nodes, without keys.")
@FOREGROUND
@LOG_FILE
@output_options
def master(
    bind: str | None,
    port: int | None,
    reports_port: int | None,
    lease: float,
    insecure: bool,
    foreground: bool,
    log_file: Path | None,
    outputs: "Mapping[str, Chosen]",
) -> None:
    """Start the master of this home (AMOC_HOME) in the background.

    The node of this home joins it with `amoc node`. Nodes on other machines join with `amoc node
    --master HOST`; this needs --bind, and keys on both sides. Control the master with `amoc do` and
    the other commands, or from the prompt of `amoc attach`. It logs to AMOC_HOME/log/master.log;
    SIGHUP reopens the file. Port 0 picks a free port. If a run is active when the master ends, the
    next master continues it.
    """
    home = Home.current()
    if lease < LEASE_MIN_S:
        raise UsageError(f"--lease {lease:g}s: at least 2s, as nodes report once a second")
    if bind is None:
        needs("--bind ADDRESS", port=port, reports_port=reports_port, insecure=insecure or None)
    else:
        keys.check_master(home, bind, insecure=insecure)
    ports = (PORTS[0] if port is None else port, PORTS[1] if reports_port is None else reports_port)
    asked = MasterOptions(bind, ports, lease, insecure)
    if foreground:
        _serve(home, asked, outputs, log_file=log_file)
        return
    options = [option for one in outputs.values() for option in one.arguments()]
    daemon = start(home, "master", [*asked.arguments(), *options])
    if insecure:
        click.echo(f"amoc: {asked.warning()}", err=True)
    assert isinstance(daemon, MasterDaemon)  # noqa: S101  # a master was started
    click.echo(f"the master runs, pid {daemon.pid}: {_where(daemon.endpoints)}")
    if daemon.run is not None:
        click.echo(f"it continues run {daemon.run}")


def _where(endpoints: Sequence[str] | None) -> str:
    """Return who can join, or the addresses of plan and reports."""
    if endpoints is None:
        return "without --bind only the node of this home can join"
    plans, reports = endpoints
    return f"plan at {plans}, reports at {reports}"


class MasterOptions(NamedTuple):
    """The options of a master; `ports` are those of the plan and of the reports.

    Without `bind` only the node of its home can join.
    """

    bind: str | None
    ports: tuple[int, int]
    lease: float
    insecure: bool

    def arguments(self) -> list[str]:
        """Return the equivalent command-line options."""
        found = ["--lease", f"{self.lease}s"]
        if self.bind is not None:
            plans, reports = map(str, self.ports)
            found += ["--bind", self.bind, "--port", plans, "--reports-port", reports]
        return found + (["--insecure"] if self.insecure else [])

    def warning(self) -> str:
        """Return the warning about --insecure."""
        can = "can join, and read the settings and sources of runs"
        return f"--insecure: whoever reaches {self.bind} {can}"


def _serve(
    home: Home, asked: MasterOptions, outputs: "Mapping[str, Chosen]", *, log_file: Path | None
) -> None:
    """Run the master until a signal or a request ends it.

    An active run is left to the next master.
    """
    from amoc_gevent.control.outputs import run_feed  # noqa: PLC0415  # it loads gevent
    from amoc_gevent.control.server import ControlServer  # noqa: PLC0415
    from amoc_gevent.control.service import MasterService  # noqa: PLC0415
    from amoc_gevent.daemon.daemon import Daemon  # noqa: PLC0415
    from amoc_gevent.output.log import RunLog  # noqa: PLC0415
    from amoc_gevent.worker.health import raise_descriptor_limit  # noqa: PLC0415

    with (
        Daemon(home, "master", log_file) as daemon,
        compose(home, asked, daemon.owns_home) as composed,
        closing(run_feed(composed, {"log": RunLog(), **outputs}, log.warning)) as feed,
    ):
        raise_descriptor_limit()
        if asked.insecure:
            log.warning("%s", asked.warning())
        run = composed.run.id if composed.run is not None and composed.run.active else None
        where = composed.endpoints if asked.bind is not None else None
        service = MasterService(composed, feed)
        services = {
            **service.services,
            **daemon.services(
                lambda force: _may_end(composed, force=force),
                lambda: daemon.as_master(where, run),
            ),
        }
        server = ControlServer(
            home.socket("master"), service.handle, services, lambda: composed.store_error
        )
        goes_on = f", continuing run {run}" if run is not None else ""
        daemon.ready(f"{_where(where)}{goes_on}")
        daemon.wait()
        server.close()


@contextmanager
def compose(home: Home, asked: MasterOptions, owns_home: Callable[[], bool]) -> Iterator["Master"]:
    """Provide a master of `home` for the block. It changes the home only while `owns_home()`.

    Raises AmocError if it cannot listen.
    """
    from amoc_gevent.bus.sockets import Keys  # noqa: PLC0415  # only the daemon needs it
    from amoc_gevent.bus.zap import ZapAuthenticator  # noqa: PLC0415
    from amoc_gevent.master.master import Master  # noqa: PLC0415
    from amoc_gevent.master.store import Store  # noqa: PLC0415

    here = home.bus
    plans, reports = here
    pair = None
    if asked.bind is not None:
        plans, reports = (f"tcp://{host_and_port(asked.bind, port)}" for port in asked.ports)
        pair = None if asked.insecure else keys.own_keypair(home)
    with ExitStack() as stack:
        if pair is not None:
            warn = cache(log.warning)  # once for each line
            authenticator = ZapAuthenticator(lambda: keys.allowed(home, warn))
            stack.callback(authenticator.close)
        store = stack.enter_context(Store(home.runs, owns_home))
        found = Master(
            plans,
            reports,
            lease=asked.lease,
            store=store,
            keys=Keys(*pair) if pair is not None else None,
            local=here if asked.bind is not None else ("", ""),
            owns_home=owns_home,
        )
        stack.callback(found.close)
        yield found


def _may_end(composed: "Master", *, force: bool) -> None:
    """Raise AmocError if a run is active or something is not stored.

    With `force`, stop the run first; the answer's warning then tells what is not stored.
    """
    from amoc_gevent.core.run.commands import Stop  # noqa: PLC0415

    run = composed.run
    active = run is not None and run.active
    if run is not None and active and not force:
        raise AmocError(
            f"run {run.id} is {run.status}: `amoc stop` it first, or say --force to stop it now"
        )
    if active:
        composed.handle(Stop(force=True))
        composed.ended.wait(STOP_PATIENCE_S)
    if not composed.save() and not force:
        raise AmocError(f"{composed.store_error}, or say --force to lose it")
