"""Explains failed handshakes between a node and its master: which end lacks which keys."""

from collections.abc import Iterator

import gevent

from amoc_gevent import clock
from amoc_gevent.bus.sockets import Handshake, Listener, Pusher

REPORT_AFTER_S = 2.0
"""How long handshakes must fail before that is reported. Also the pause before a retry."""

SAME_CAUSE_S = 3 * REPORT_AFTER_S
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

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (previous problem, present problem) forever.

        The present problem is empty once a handshake succeeds. If only one end has keys, ZeroMQ
        gives up after one attempt, so this generator reconnects.
        """
        failing_since, mismatched, reported = WORKS, NEVER, ""
        while True:
            how = self._listener.handshake()
            now = clock.monotonic()
            if how == "mismatch":
                mismatched = now
            elif how == "refused" and now - mismatched < SAME_CAUSE_S:
                how = "mismatch"
            if how == "done":
                if reported:
                    yield reported, ""
                failing_since, mismatched, reported = WORKS, NEVER, ""
                continue
            failing_since = min(failing_since, now)
            if how == "mismatch" or now - failing_since >= REPORT_AFTER_S:
                before, reported = reported, mismatch(how, keyed=self._keyed)
                yield before, reported
            if how == "mismatch":
                gevent.sleep(REPORT_AFTER_S)  # the master may be restarted with or without keys
                self._listener.reconnect()
                self._reports.reconnect()


def mismatch(how: Handshake, *, keyed: bool) -> str:
    """Return the likely cause of a handshake that failed as `how` says."""
    if how == "mismatch" and keyed:
        return "the master has no keys: it was started with --insecure, this node without"
    if how == "mismatch":
        return "the master wants keys: this node was started with --insecure, the master without"
    if keyed:
        return (
            "the master does not answer this node's key: either it does not allow the key (run "
            "`amoc keys allow` there), or its own key is not the one given to `amoc keys "
            "trust-master` here"
        )
    return "the process that answers at the master's address is not a master"
