"""Explains failed handshakes between a node and its master: which end lacks which keys."""

from collections.abc import Iterator

import gevent

from amoc_gevent import clock
from amoc_gevent.bus.sockets import Handshake, Listener, Pusher

TOLD_AFTER_S = 2.0
"""Handshakes must fail for this long before it is reported; also the pause before a retry."""

SURE_S = 3 * TOLD_AFTER_S
"""A refused handshake this soon after a key mismatch counts as the same mismatch.

The other end may cut off a handshake without giving a reason.
"""

WORKS = float("inf")
NEVER = float("-inf")


class HandshakeWatch:
    """Follows the handshakes of a node's sockets; `keyed` says whether the node has keys."""

    def __init__(self, listener: Listener, reports: Pusher, *, keyed: bool) -> None:
        self._listener = listener
        self._reports = reports
        self._keyed = keyed

    def complaints(self) -> Iterator[tuple[str, str]]:
        """Yield (previous complaint, present complaint) forever.

        The present complaint is empty once a handshake succeeds. If only one end has keys, ZeroMQ
        gives up after one attempt, so this generator reconnects.
        """
        failing_since, mismatched, told = WORKS, NEVER, ""
        while True:
            how = self._listener.handshake()
            now = clock.monotonic()
            if how == "other":
                mismatched = now
            elif how == "refused" and now - mismatched < SURE_S:
                how = "other"
            if how == "done":
                if told:
                    yield told, ""
                failing_since, mismatched, told = WORKS, NEVER, ""
                continue
            failing_since = min(failing_since, now)
            if how == "other" or now - failing_since >= TOLD_AFTER_S:
                before, told = told, mismatch(how, keyed=self._keyed)
                yield before, told
            if how == "other":
                gevent.sleep(TOLD_AFTER_S)  # the master may be restarted with or without keys
                self._listener.connect_again()
                self._reports.connect_again()


def mismatch(how: Handshake, *, keyed: bool) -> str:
    """Return the likely cause of a handshake that failed as `how` says."""
    if how == "other" and keyed:
        return "the master has no keys: it was started with --insecure, this node without"
    if how == "other":
        return "the master wants keys: this node was started with --insecure, the master without"
    if keyed:
        return (
            "the master does not answer this node's key: either it does not allow the key (run "
            "`amoc keys allow` there), or its own key is not the one that `amoc keys trust-master` "
            "named here"
        )
    return "the process that answers at the master's address is not a master"
