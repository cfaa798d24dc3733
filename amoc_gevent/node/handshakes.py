"""Why a node and its master cannot agree on keys, from how their handshakes end."""

from collections.abc import Iterator

import gevent

from amoc_gevent import clock
from amoc_gevent.bus.sockets import Handshake, Listener, Pusher

TOLD_AFTER_S = 2.0
"""How long handshakes fail before that is told, and the pause before the next try."""

SURE_S = 3 * TOLD_AFTER_S
"""How long a mismatch is believed. The other end may cut off a handshake without naming it."""

WORKS = float("inf")
NEVER = float("-inf")


class HandshakeWatch:
    """Follows the handshakes of a node's sockets; `keyed` says whether the node has keys."""

    def __init__(self, listener: Listener, reports: Pusher, *, keyed: bool) -> None:
        self._listener = listener
        self._reports = reports
        self._keyed = keyed

    def complaints(self) -> Iterator[tuple[str, str]]:
        """Yield the last complaint and the present one, empty once a handshake succeeds; endless.

        Where one end has keys and the other none, ZeroMQ never tries again. This does.
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
                gevent.sleep(TOLD_AFTER_S)  # the master may be started again in another way
                self._listener.connect_again()
                self._reports.connect_again()


def mismatch(how: Handshake, *, keyed: bool) -> str:
    """Return what may be wrong where a handshake ends so."""
    if how == "other" and keyed:
        return "the master has no keys: it was started with --insecure, this node without"
    if how == "other":
        return "the master wants keys: this node was started with --insecure, that without"
    if keyed:
        return (
            "the master does not answer this node's key: it is not allowed (`amoc keys allow` "
            "there), or the master has another key than `amoc keys trust-master` named here"
        )
    return "what answers in the master's place is no master"
