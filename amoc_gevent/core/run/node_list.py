"""Builds the answer to `nodes`."""

from collections.abc import Iterable

from amoc_gevent.core.answers import NodeLine, NodeList, UsersByState
from amoc_gevent.core.measure.results import lag_of
from amoc_gevent.core.run.nodes import NodeView


def node_list(nodes: Iterable[NodeView], now: float) -> NodeList:
    """Return the state of each node at `now` (the master's monotonic time)."""
    return NodeList(tuple(_line(node, now) for node in nodes))


def _line(node: NodeView, now: float) -> NodeLine:
    known = node.clock.bound != float("inf")
    gone = node.left or node.lost  # its last report no longer holds
    return NodeLine(
        name=node.name,
        state="left" if node.left else "lost" if node.lost else node.state,
        place=node.place,
        workers=node.workers,
        users=UsersByState() if gone else UsersByState(**node.users.by_state()),
        heard_s=round(max(0.0, now - node.heard), 1),
        clock_offset_us=round(node.clock.wall * 1e6) if known else None,
        clock_bound_us=round(node.clock.bound * 1e6) if known else None,
        cpu=None if gone else max((one.cpu for one in node.health), default=0.0),
        lag_us=None if gone else max((lag_of(one) for one in node.health), default=0),
    )
