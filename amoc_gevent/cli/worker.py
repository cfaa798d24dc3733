"""`amoc worker`, which a node starts for itself: one process that holds users."""

import ctypes
import logging
import os
import signal

import click

from amoc_gevent.engine import bus
from amoc_gevent.engine.worker import Identity, Worker

PR_SET_PDEATHSIG = 1


@click.command(hidden=True)
@click.argument("orders")
@click.argument("reports")
@click.argument("index", type=int)
@click.argument("incarnation", type=int)
@click.argument("parent", type=int)
def worker(orders: str, reports: str, index: int, incarnation: int, parent: int) -> None:
    """Hold users for the node that listens at ORDERS and REPORTS."""
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the master decides
    logging.basicConfig(
        level=os.environ.get("AMOC_LOG", "WARNING"),
        format=f"%(asctime)s worker {index + 1} %(levelname)s %(message)s",
    )
    Worker(Identity(index, incarnation), orders, reports).run()
    bus.finish()


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when the node ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
