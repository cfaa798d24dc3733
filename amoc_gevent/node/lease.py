"""A node's lease: until when it may have users, as the master's acknowledgements grant it."""

from amoc_gevent import clock
from amoc_gevent.core.messages import Ack

STOOD_STILL_S = 0.5
LEASE_GRACE_S = 1.0
"""How long after the lease, at most, a worker may take to end its users before it is killed."""

NEVER = float("-inf")


class NodeLease:
    """Lasts `until` a time of the monotonic clock; a node has none before it is granted one."""

    def __init__(self) -> None:
        self.until = NEVER
        self._grace = LEASE_GRACE_S
        self._looked = clock.monotonic()
        self._awake = NEVER

    @property
    def left(self) -> float:
        """Seconds that it lasts from now on, negative once it is over."""
        return self.until - clock.monotonic()

    @property
    def was_granted(self) -> bool:
        """Whether the master ever granted one."""
        return self.until > NEVER

    def grant(self, ack: Ack) -> None:
        """Let it last for as long as `ack` says; it never gets shorter."""
        self.until = max(self.until, ack.sent + ack.lease)
        self._grace = min(LEASE_GRACE_S, ack.lease / 8)

    def look(self, now: float) -> None:
        """Note the time, to be called often: the machine stood still where it was not."""
        if now - self._looked > STOOD_STILL_S:
            self._awake = now
        self._looked = now

    @property
    def killed_at(self) -> float:
        """When workers are killed that still run.

        A machine that stood still with its workers leaves them the time to end by themselves.
        """
        return max(self.until, self._awake) + self._grace
