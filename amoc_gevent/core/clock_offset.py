"""Estimates the offset between a node's clock and the master's from their regular messages.

A report and its acknowledgement are an exchange as in NTP (RFC 5905, section 8), with four times:
each message has a send time and a receive time. They give the round-trip delay, but not how it
splits between the two directions. So the offset is off by at most half of it.
The exchange with the shortest delay is the most accurate, and becomes less so as it ages.
"""

from collections import deque
from dataclasses import dataclass

KEPT = 60
"""The number of exchanges kept."""

DRIFT = 50e-6
"""Seconds per second by which two quartz clocks may drift apart."""


@dataclass(frozen=True, slots=True)
class OffsetSample:
    """The offset measured by one exchange, its error bound and its time, all in seconds."""

    offset: float
    bound: float
    at: float


class ClockOffset:
    """The master's time minus this machine's monotonic clock, in seconds.

    Until the first exchange it comes from the one-way message with the shortest delay.
    """

    def __init__(self) -> None:
        self._exchanges: deque[OffsetSample] = deque(maxlen=KEPT)
        self._heard = float("-inf")

    def reset(self) -> None:
        """Forget all samples, because another master with another clock has taken over."""
        self._exchanges.clear()
        self._heard = float("-inf")

    def add_one_way(self, time: float, now: float) -> None:
        """Note a message sent at the master's `time` and received at `now`."""
        self._heard = max(self._heard, time - now)

    def add_exchange(self, sent: float, received: float, time: float, now: float) -> None:
        """Note a report sent at `sent`, received at `received`, answered at `time`, back at `now`.

        `sent` and `now` are by this machine's clock, the other two by the master's. An exchange is
        ignored if it took less time in all than the master held it, which is impossible.
        """
        held = time - received
        way = (now - sent) - held
        if way >= 0:
            offset = ((received - sent) + (time - now)) / 2
            self._exchanges.append(OffsetSample(offset, way / 2 + DRIFT * held, now))

    def at(self, now: float) -> tuple[float, float]:
        """Return the offset and its error bound in seconds; infinite before the first exchange."""
        if not self._exchanges:
            return (0.0 if self._heard == float("-inf") else self._heard), float("inf")
        best = min(self._exchanges, key=lambda one: one.bound + DRIFT * (now - one.at))
        return best.offset, best.bound + DRIFT * (now - best.at)
