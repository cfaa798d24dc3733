"""How far a node's clock is from the master's, from the messages that flow anyway.

Each acknowledgement is an exchange as in NTP (RFC 5905, section 8): the report left at one of the
node's times and came at one of the master's, the answer left and came again. The way there and
back can be told from the four, but not how it was shared between both, so the offset is off by half
of it at most. The quickest exchange says most, and a little less with each second that it ages.
"""

from collections import deque
from dataclasses import dataclass

KEPT = 60
DRIFT = 50e-6
"""Seconds by which two quartz clocks may part in one."""


@dataclass(frozen=True, slots=True)
class OffsetSample:
    """One exchange: the offset that it tells (s), by how much it may be off (s), and when (s)."""

    offset: float
    bound: float
    at: float


class ClockOffset:
    """The master's time minus this machine's monotonic clock, in seconds.

    Until the first exchange it is that of the plan which was least on its way.
    """

    def __init__(self) -> None:
        self._exchanges: deque[OffsetSample] = deque(maxlen=KEPT)
        self._heard = float("-inf")

    def reset(self) -> None:
        """Forget all: the master's clock is another one."""
        self._exchanges.clear()
        self._heard = float("-inf")

    def add_one_way(self, time: float, now: float) -> None:
        """Note that a message which left at the master's `time` came at `now`."""
        self._heard = max(self._heard, time - now)

    def add_exchange(self, sent: float, received: float, time: float, now: float) -> None:
        """Note an exchange: out at `sent`, in at `received`, back at `time`, here at `now`.

        `sent` and `now` are of this machine's clock, the others the master's. What cannot be is
        left out: an answer that took less time altogether than the master had it.
        """
        held = time - received
        way = (now - sent) - held
        if way >= 0:
            offset = ((received - sent) + (time - now)) / 2
            self._exchanges.append(OffsetSample(offset, way / 2 + DRIFT * held, now))

    def at(self, now: float) -> tuple[float, float]:
        """Return the offset and its bound, both in seconds; the bound is infinite at first."""
        if not self._exchanges:
            return (0.0 if self._heard == float("-inf") else self._heard), float("inf")
        best = min(self._exchanges, key=lambda one: one.bound + DRIFT * (now - one.at))
        return best.offset, best.bound + DRIFT * (now - best.at)
