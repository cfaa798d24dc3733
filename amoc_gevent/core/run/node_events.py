"""Events of the master's nodes, as data. The node registry detects them."""

from dataclasses import dataclass

from amoc_gevent.core.messages import Ack, Report
from amoc_gevent.core.run.nodes import NodeView


@dataclass(frozen=True, slots=True)
class Joined:
    """A process reported for the first time. `known` is the earlier node of the same name."""

    node: NodeView
    known: NodeView | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """A new report arrived. `node` may be an earlier process of that name."""

    node: NodeView
    report: Report


@dataclass(frozen=True, slots=True)
class Lost:
    """A node sent no report for the duration of the lease."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class Returned:
    """A lost node reported again."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class Left:
    """A node has ended its users and shuts down for good."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The registry dropped a node that left long ago."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class Refused:
    """A second node uses the name of one that is present. `ack` tells it why it is refused."""

    name: str
    ack: Ack


NodeEvent = Joined | Reported | Lost | Returned | Left | Forgotten | Refused
