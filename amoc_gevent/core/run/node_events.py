"""NodeEvent of a master's nodes: what the registry finds out, as data."""

from dataclasses import dataclass

from amoc_gevent.core.messages import Ack, Report
from amoc_gevent.core.run.nodes import NodeView


@dataclass(frozen=True, slots=True)
class Joined:
    """A process reported for the first time; `known` is the one that had its name before."""

    node: NodeView
    known: NodeView | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """A report came that was not taken in before. `node` may be a former process."""

    node: NodeView
    report: Report


@dataclass(frozen=True, slots=True)
class Lost:
    """A node was not heard for the lease."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class Returned:
    """A lost node is heard again."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class Left:
    """A node has ended its users and ends for good."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A node left so long ago that the registry has forgotten it."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class Refused:
    """A second node has the name of one that is heard. `ack` tells it why it is refused."""

    name: str
    ack: Ack


NodeEvent = Joined | Reported | Lost | Returned | Left | Forgotten | Refused
