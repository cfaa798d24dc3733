"""The topics of a master's messages. A node subscribes to those that concern it."""

PLAN = b"plan/"
"""A beat and the whole plan."""

BEAT = b"beat/"
"""A beat alone, while all nodes have the plan."""


CODE = b"code/"
"""Sources of a scenario, for whoever lacks them."""


def ack_topic(node: str) -> bytes:
    """Return the topic of what one node is told; names have no slash, so none begins another."""
    return f"ack/{node}/".encode()


def code_topic(sha: str) -> bytes:
    """Return the topic of the sources with this SHA-256."""
    return CODE + f"{sha}/".encode()
