"""The directories and the identity that a node has from its home."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amoc_gevent.bus.directory import SocketDirectory


@dataclass(frozen=True, slots=True)
class NodeHome:
    """The home that a node runs from.

    Its ipc sockets are in `sockets`. `place` distinguishes this node from all others of its name.
    Scenario sources from the master are kept in `sources`, by default beside the sockets.
    `owns_home` returns whether the home still belongs to this process.
    """

    sockets: SocketDirectory
    place: str = ""
    sources: Path | None = None
    owns_home: Callable[[], bool] = lambda: True
