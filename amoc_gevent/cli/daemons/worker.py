"""`amoc worker`, which a node starts for itself: one process that holds users."""

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
    """Hold users for the node that listens at ORDERS and REPORTS."""
    _end_with(parent, Path(orders.removeprefix("ipc://")).parent)
    _leave_signals_to_the_master()
    raise_descriptor_limit()
    faulthandler.register(signal.SIGQUIT, all_threads=False)  # its node asks where it stands
    logging.basicConfig(
        level=log_level("WARNING"),
        format=f"%(asctime)s worker {index + 1} %(levelname)s %(message)s",
    )
    Worker(Identity(index, incarnation), orders, reports).run()
    bus.finish()


def _end_with(parent: int, sockets: Path) -> None:
    """Have the kernel tell this process when its node ends, however it ends; then it ends too.

    A node that was killed cannot remove its sockets: its workers do it.
    """

    def end(*_arguments: object) -> None:
        if os.getppid() == parent:  # only one of its threads has ended so far
            return
        for _sweep in range(SWEEPS):
            remove_abandoned(sockets.parent)
            if not sockets.exists():
                break
            _sleep(SWEEP_PAUSE_S)  # until the last of its threads has let go of the lock
        os._exit(1)

    signal.signal(signal.SIGUSR1, end)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR1)
    end()


def _leave_signals_to_the_master() -> None:
    """Do nothing where a terminal or a service manager signals all processes at once.

    A handler, as processes that a scenario starts would inherit that a signal is ignored.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
