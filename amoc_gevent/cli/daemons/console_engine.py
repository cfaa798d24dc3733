"""`amoc console-engine`: the local cluster of a console, which starts it."""

import logging
import os
import signal
import sys
from pathlib import Path

import click
import gevent
from gevent.event import Event as Flag

from amoc_gevent.control.local import LocalCluster, opened_store
from amoc_gevent.control.server import ControlServer
from amoc_gevent.control.service import MasterService
from amoc_gevent.core.run.commands import Stop
from amoc_gevent.daemon.logs import log_level
from amoc_gevent.worker.health import raise_descriptor_limit


@click.command(hidden=True)
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("workers", type=int)
def console_engine(path: Path, workers: int) -> None:
    """Answer commands at the Unix socket PATH until standard input closes."""
    logging.basicConfig(level=log_level("WARNING"), format="amoc: %(message)s")
    os.environ.setdefault("AMOC_LOG", "INFO")  # for the workers, to show each failed user
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the prompt
    raise_descriptor_limit()
    leave = Flag()
    gevent.signal_handler(signal.SIGTERM, leave.set)
    gevent.spawn(_wait_for_end_of_input, leave)
    store = opened_store(lambda line: _print(f"amoc: {line}"))
    with LocalCluster(workers, _print, store) as cluster:
        master = cluster.master
        service = MasterService(master, cluster.feed)
        server = ControlServer(path, service.handle, service.services)
        leave.wait()
        if master.run is not None and master.run.active:
            master.handle(Stop())
            master.ended.wait()
        server.close()


def _wait_for_end_of_input(leave: Flag) -> None:
    """Set `leave` when the console ends for any reason: it holds the other end of the pipe."""
    gevent.get_hub().threadpool.apply(sys.stdin.buffer.read)
    leave.set()


def _print(line: str) -> None:
    click.echo(line, err=True)
