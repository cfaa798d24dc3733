"""`amoc worker`: a process that runs users, started by its node."""

import ctypes
import faulthandler
import logging
import os
import signal
from pathlib import Path

import click
from gevent.monkey import get_original

from amoc_gevent.bus import sockets as bus
from amoc_gevent.bus.directory import remove_abandoned
from amoc_gevent.daemon.logs import log_level
from amoc_gevent.worker.health import raise_descriptor_limit
from amoc_gevent.worker.worker import Identity, Worker

PR_SET_PDEATHSIG = 1
SWEEPS = 50
SWEEP_PAUSE_S = 0.02

_sleep = get_original("time", "sleep")


@click.command(hidden=True)
@click.argument("orders")
@click.argument("reports")
@click.argument("index", type=int)
@click.argument("incarnation", type=int)
@click.argument("parent", type=int)
def worker(orders: str, reports: str, index: int, incarnation: int, parent: int) -> None:
    """Run users for the node that listens at ORDERS and REPORTS."""
    _end_with(parent, Path(orders.removeprefix("ipc://")).parent)
    _leave_signals_to_the_master()
    raise_descriptor_limit()
    faulthandler.register(signal.SIGQUIT, all_threads=False)  # its node asks for the stack
    logging.basicConfig(
        level=log_level("WARNING"),
        format=f"%(asctime)s worker {index + 1} %(levelname)s %(message)s",
    )
    Worker(Identity(index, incarnation), orders, reports).run()
    bus.finish()


def _end_with(parent: int, sockets: Path) -> None:
    """End this process when its node ends for any reason; the kernel sends it a signal then.

    A killed node cannot remove its sockets, so its workers do.
    """

    def end(*_arguments: object) -> None:
        if os.getppid() == parent:  # only one thread of the node has ended
            return
        for _sweep in range(SWEEPS):
            remove_abandoned(sockets.parent)
            if not sockets.exists():
                break
            _sleep(SWEEP_PAUSE_S)  # until the node's last thread has released the lock
        os._exit(1)

    signal.signal(signal.SIGUSR1, end)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR1)
    end()


def _leave_signals_to_the_master() -> None:
    """Do nothing at signals that a terminal or a service manager sends to all processes.

    This is a handler because child processes of a scenario would inherit SIG_IGN.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
