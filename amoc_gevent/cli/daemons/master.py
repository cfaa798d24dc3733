"""`amoc master`: the daemon that holds the plan, and whom all commands go to."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from amoc_gevent.cli.outputs import output_options
from amoc_gevent.cli.params import DURATION, PORTS, needs
from amoc_gevent.control.background import start
from amoc_gevent.core.answers import MasterDaemon
from amoc_gevent.daemon import keys
from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import AmocError, UsageError

if TYPE_CHECKING:
    from amoc_gevent.master.master import Master
    from amoc_gevent.output.kinds import Chosen

log = logging.getLogger(__name__)

PORT = click.IntRange(0, 65535)
LEASE_S = 15.0
LEASE_MIN_S = 2.0
STOP_PATIENCE_S = 10.0


@click.command()
@click.option("--bind", metavar="ADDRESS", help="Listen there too, to nodes on other machines.")
@click.option("--port", type=PORT, help="Port of the plan there [5710].")
@click.option("--reports-port", type=PORT, help="Port of the reports there [5711].")
@click.option(
    "--lease",
    type=DURATION,
    default=LEASE_S,
    help="How long a silent node is waited for before others take its users [15s].",
)
@click.option("--insecure", is_flag=True, help="Listen to everyone there, without keys.")
@click.option("--foreground", is_flag=True, help="Stay, and log to standard error.")
@click.option(
    "--log-file", type=click.Path(path_type=Path), help="Where --foreground logs instead."
)
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

    The node of this home joins it: `amoc node`. Nodes on other machines, `amoc node --master HOST`,
    need --bind, and keys on both sides. Commands go to it from the shell, as `amoc do`, or from the
    prompt of `amoc attach`. It logs to AMOC_HOME/log/master.log, which SIGHUP reopens. Port 0 takes
    a free one. A run that goes on when the master ends is gone on with by the next.
    """
    home = Home.current()
    if lease < LEASE_MIN_S:
        raise UsageError(f"--lease {lease:g}s: 2s or more, for nodes report once a second")
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
    told = start(home, "master", [*asked.arguments(), *options])
    if insecure:
        click.echo(f"amoc: {asked.warning()}", err=True)
    assert isinstance(told, MasterDaemon)  # noqa: S101  # a master was started
    click.echo(f"the master runs, pid {told.pid}: {_where(told.endpoints)}")
    if told.run is not None:
        click.echo(f"it goes on with run {told.run}")


def _where(endpoints: Sequence[str] | None) -> str:
    """Say who can join a master that listens at these addresses, plan and reports."""
    if endpoints is None:
        return "without --bind only the node of this home can join"
    plans, reports = endpoints
    return f"plan at {plans}, reports at {reports}"


class MasterOptions(NamedTuple):
    """How a master shall be: where it listens (port of the plan, of the reports), and to whom.

    Without `bind` it listens to the node of its home alone.
    """

    bind: str | None
    ports: tuple[int, int]
    lease: float
    insecure: bool

    def arguments(self) -> list[str]:
        """Return the options that say so."""
        found = ["--lease", f"{self.lease}s"]
        if self.bind is not None:
            plans, reports = map(str, self.ports)
            found += ["--bind", self.bind, "--port", plans, "--reports-port", reports]
        return found + (["--insecure"] if self.insecure else [])

    def warning(self) -> str:
        """Return what `--insecure` means."""
        can = "can join, and read the settings and sources of runs"
        return f"--insecure: whoever reaches {self.bind} {can}"


def _serve(
    home: Home, asked: MasterOptions, outputs: "Mapping[str, Chosen]", *, log_file: Path | None
) -> None:
    """Be the master until a signal or a request ends it.

    A run that goes on then is left as it is, for the next master to go on with.
    """
    from amoc_gevent.control.outputs import run_feed  # noqa: PLC0415  # it loads gevent
    from amoc_gevent.control.server import ControlServer  # noqa: PLC0415
    from amoc_gevent.control.service import MasterService  # noqa: PLC0415
    from amoc_gevent.daemon.daemon import Daemon  # noqa: PLC0415
    from amoc_gevent.output.log import RunLog  # noqa: PLC0415
    from amoc_gevent.worker.health import raise_descriptor_limit  # noqa: PLC0415

    with (
        Daemon(home, "master", log_file) as daemon,
        compose(home, asked, daemon.holds) as composed,
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
            home.socket("master"), service.handle, services, lambda: composed.trouble
        )
        goes_on = f", going on with run {run}" if run is not None else ""
        daemon.ready(f"{_where(where)}{goes_on}")
        daemon.wait()
        server.close()


@contextmanager
def compose(home: Home, asked: MasterOptions, ours: Callable[[], bool]) -> Iterator["Master"]:
    """Have a master of `home` until the end of the block, which changes it only while it is `ours`.

    Raises AmocError where it cannot listen.
    """
    from amoc_gevent.bus.sockets import Keys  # noqa: PLC0415  # the daemon's alone
    from amoc_gevent.bus.zap import ZapAuthenticator  # noqa: PLC0415
    from amoc_gevent.master.master import Master  # noqa: PLC0415
    from amoc_gevent.master.store import Store  # noqa: PLC0415

    here = home.bus
    plans, reports = here
    pair = None
    if asked.bind is not None:
        host = f"[{asked.bind}]" if ":" in asked.bind else asked.bind
        plans, reports = (f"tcp://{host}:{port}" for port in asked.ports)
        pair = None if asked.insecure else keys.own_keypair(home)
    with ExitStack() as stack:
        if pair is not None:
            authenticator = ZapAuthenticator(lambda: keys.allowed(home))
            stack.callback(authenticator.close)
        store = stack.enter_context(Store(home.runs, ours))
        found = Master(
            plans,
            reports,
            lease=asked.lease,
            store=store,
            keys=Keys(*pair) if pair is not None else None,
            local=here if asked.bind is not None else ("", ""),
            ours=ours,
        )
        stack.callback(found.close)
        yield found


def _may_end(composed: "Master", *, force: bool) -> None:
    """Return when no run goes on and all is stored; AmocError where it is not so.

    By force a run is stopped first. The answer's warning says what cannot be stored.
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
        raise AmocError(f"{composed.trouble}, or say --force to lose it")
