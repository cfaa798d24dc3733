"""The nodes of a master as the answer to `nodes`: plain data for a prompt, a socket or a page."""

from collections.abc import Iterable

from amoc_gevent.core.measure.results import lag_of
from amoc_gevent.core.run.nodes import NodeView


def nodes_of(nodes: Iterable[NodeView], now: float) -> list[dict[str, object]]:
    """Return how each node fares at `now`, the master's monotonic time.

    `heard_s` is seconds since its last report; `clock_offset_us` by how much its wall clock is
    behind the master's time, `clock_bound_us` by how much that may be off (None: not known yet);
    `cpu` and `lag_us` are those of its busiest worker.
    """
    return [_node(node, now) for node in nodes]


def _node(node: NodeView, now: float) -> dict[str, object]:
    known = node.clock.bound != float("inf")
    return {
        "name": node.name,
        "state": "left" if node.left else "lost" if node.lost else node.state,
        "place": node.place,
        "workers": node.workers,
        "users": node.users.by_state(),
        "heard_s": round(max(0.0, now - node.heard), 1),
        "clock_offset_us": round(node.clock.wall * 1e6) if known else None,
        "clock_bound_us": round(node.clock.bound * 1e6) if known else None,
        "cpu": max((one.cpu for one in node.health), default=0.0),
        "lag_us": max((lag_of(one) for one in node.health), default=0),
    }
