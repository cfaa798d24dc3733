"""`amoc master`: the daemon that holds the plan, and whom all commands go to."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from amoc_gevent.cli.background import start
from amoc_gevent.engine import keys
from amoc_gevent.engine.home import Home
from amoc_gevent.errors import AmocError

if TYPE_CHECKING:
    from amoc_gevent.engine.master import Master

PORT = click.IntRange(0, 65535)
STOP_PATIENCE_S = 10.0


@click.command()
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=PORT, default=5710, show_default=True, help="Port of the plan.")
@click.option(
    "--reports-port", type=PORT, default=5711, show_default=True, help="Port of the reports."
)
@click.option("--insecure", is_flag=True, help="Listen to everyone, without keys.")
@click.option("--foreground", is_flag=True, help="Stay, and log to standard error.")
@click.option(
    "--log-file", type=click.Path(path_type=Path), help="Where --foreground logs instead."
)
def master(
    bind: str, port: int, reports_port: int, insecure: bool, foreground: bool, log_file: Path | None
) -> None:
    """Start the master of this home (AMOC_HOME) in the background.

    Nodes join it: `amoc node --master HOST`. Commands go to it from the shell, as `amoc do`, or
    from the prompt of `amoc attach`. It logs to AMOC_HOME/log/master.log, which SIGHUP reopens.
    Port 0 takes a free one.
    """
    home = Home.current()
    keys.check_master(home, bind, insecure=insecure)
    if foreground:
        _serve(home, bind, (port, reports_port), insecure=insecure, log_file=log_file)
        return
    where = ["--bind", bind, "--port", str(port), "--reports-port", str(reports_port)]
    told = start(home, "master", [*where, *(["--insecure"] if insecure else [])])
    plans, reports = told["endpoints"]
    click.echo(f"the master runs, pid {told['pid']}: plan at {plans}, reports at {reports}")


def _serve(
    home: Home, bind: str, ports: tuple[int, int], *, insecure: bool, log_file: Path | None
) -> None:
    """Be the master until a signal or a request ends it.

    A run that goes on then is left as it is, for the next master to go on with.
    """
    from amoc_gevent.cli.service import MasterService  # noqa: PLC0415  # the daemon's alone:
    from amoc_gevent.engine.control import ControlServer  # noqa: PLC0415  # it loads gevent
    from amoc_gevent.engine.daemon import Daemon  # noqa: PLC0415
    from amoc_gevent.engine.health import raise_descriptor_limit  # noqa: PLC0415

    with Daemon(home, "master", log_file) as daemon:
        raise_descriptor_limit()
        composed = compose(home, bind, ports, insecure=insecure)
        try:
            service = MasterService(composed)
            where = endpoints(composed)
            services = {
                **service.services,
                **daemon.services(lambda force: _may_end(composed, force=force)),
            }
            describe = services["daemon"]
            services["daemon"] = lambda r: {**describe(r), "endpoints": where}  # type: ignore[dict-item]
            server = ControlServer(home.socket("master"), service.handle, services)
            daemon.ready(f"plan at {where[0]}, reports at {where[1]}")
            daemon.wait()
            server.close()
        finally:
            composed.close()


def compose(home: Home, bind: str, ports: tuple[int, int], *, insecure: bool) -> "Master":  # noqa: ARG001
    """Return the master of `home`, which listens at the two ports of `bind`.

    The one for plans comes first. AmocError where it cannot listen there.
    """
    import zmq  # noqa: PLC0415

    from amoc_gevent.engine.master import Master  # noqa: PLC0415

    host = f"[{bind}]" if ":" in bind else bind
    plans, reports = (f"tcp://{host}:{port}" for port in ports)
    try:
        return Master(plans, reports, 0)
    except zmq.ZMQError as error:
        raise AmocError(f"cannot listen at {plans} and {reports}: {error.strerror}") from error


def endpoints(composed: "Master") -> tuple[str, str]:
    """Return where a master listens for subscribers to the plan and for reports."""
    sockets = (composed._publisher._socket, composed._puller._socket)
    plans, reports = (socket.last_endpoint.rstrip(b"\0").decode() for socket in sockets)
    return plans, reports


def _may_end(composed: "Master", *, force: bool) -> None:
    """Return when no run goes on; by force stop it first. AmocError where one goes on."""
    from amoc_gevent.core.commands import Stop  # noqa: PLC0415

    run = composed.run
    if run is None or not run.active:
        return
    if not force:
        raise AmocError(
            f"run {run.id} is {run.status}: `amoc stop` it first, or say --force to stop it now"
        )
    composed.handle(Stop(force=True))
    composed.ended.wait(STOP_PATIENCE_S)
