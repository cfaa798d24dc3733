"""The topics of a master's messages. A node subscribes to the ones it needs."""

PLAN = b"plan/"
"""A beat and the whole plan."""

BEAT = b"beat/"
"""A beat alone, while all nodes have the plan."""


CODE = b"code/"
"""Sources of a scenario, for nodes without them."""


def ack_topic(node: str) -> bytes:
    """Return the topic of one node's acks. Names have no slash, so no topic prefixes another."""
    return f"ack/{node}/".encode()


def code_topic(sha: str) -> bytes:
    """Return the topic of the sources with this SHA-256."""
    return CODE + f"{sha}/".encode()
