"""A node's lease: until when the master's acknowledgements allow it to have users."""

from amoc_gevent import clock
from amoc_gevent.core.messages import Ack

SUSPENDED_S = 0.5
"""A longer gap between two ticks means that the machine was suspended."""

LEASE_GRACE_S = 1.0
"""The most time that a worker has to end its users after the lease, before it is killed."""

NEVER = float("-inf")


class NodeLease:
    """Lasts until the monotonic time `until`. A node has no lease before the first grant."""

    def __init__(self) -> None:
        self.until = NEVER
        self._grace = LEASE_GRACE_S
        self._ticked = clock.monotonic()
        self._resumed_at = NEVER

    @property
    def left(self) -> float:
        """Seconds until the lease ends, negative afterwards."""
        return self.until - clock.monotonic()

    @property
    def was_granted(self) -> bool:
        """Whether the master has ever granted a lease."""
        return self.until > NEVER

    def grant(self, ack: Ack) -> None:
        """Extend the lease as `ack` says. A grant never shortens it."""
        self.until = max(self.until, ack.sent + ack.lease)
        self._grace = min(LEASE_GRACE_S, ack.lease / 8)

    def tick(self, now: float) -> None:
        """Note the time. A long gap between two calls means that the machine was suspended."""
        if now - self._ticked > SUSPENDED_S:
            self._resumed_at = now
        self._ticked = now

    @property
    def killed_at(self) -> float:
        """When workers that still run are killed (monotonic s).

        If the machine was suspended, its workers get the grace period from when it woke up.
        """
        return max(self.until, self._resumed_at) + self._grace
