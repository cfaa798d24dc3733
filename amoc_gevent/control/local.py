"""A master and one node in this process, for `amoc run` and `amoc console`."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import gevent

from amoc_gevent import clock
from amoc_gevent.bus.directory import SocketDirectory
from amoc_gevent.control.outputs import run_feed
from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import AmocError
from amoc_gevent.master.local_store import LocalStore
from amoc_gevent.master.master import Master
from amoc_gevent.node.home import NodeHome
from amoc_gevent.node.master_connection import MasterAddress
from amoc_gevent.node.node import Node

JOIN_S = 10.0
NODE = "local"


class LocalCluster:
    """A master and a node, the same as on many machines, over temporary ipc sockets.

    `on_output` receives each line that a worker writes. `store`, if given, keeps the runs and is
    closed with the cluster. The pending data of outputs of `feed` is not stored.
    """

    def __init__(
        self,
        workers: int,
        on_output: Callable[[str], None] = print,
        store: LocalStore | None = None,
    ) -> None:
        self._store = store
        self.sockets = SocketDirectory()
        plans, reports = self.sockets.endpoint("plans"), self.sockets.endpoint("reports")
        self.master = Master(plans, reports, store=store)
        self.feed = run_feed(self.master, keep=False)
        self.node = Node(
            NODE, workers, MasterAddress(plans, reports), NodeHome(self.sockets), on_output
        )

    def __enter__(self) -> Self:
        try:
            self._wait_for_node()
        except BaseException:  # even an interrupt must leave nothing behind
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wait_for_node(self) -> None:
        deadline = clock.monotonic() + JOIN_S
        while not self.master.nodes:
            if clock.monotonic() > deadline:
                raise AmocError(f"the local node did not join its master within {JOIN_S:.0f} s")
            gevent.sleep(0.01)

    def close(self) -> None:
        """End all processes and sockets."""
        self.feed.close()
        self.node.close()
        self.master.close()
        self.sockets.close()
        if self._store is not None:
            self._store.close()


def opened_store(say: Callable[[str], object]) -> LocalStore | None:
    """Return the home's store for local runs; on an error, pass a warning to `say`, return None."""
    try:
        return LocalStore(Home.current().make().runs)
    except AmocError as error:
        say(f"warning: `amoc runs` will not list this run: {error}")
        return None
