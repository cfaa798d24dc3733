"""Numbers a node's reports and keeps each one until the master acknowledges it.

An acknowledgement names the last report up to which the master has all. Later reports that are due
are then resent. Nothing is resent while the master does not answer.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from amoc_gevent import clock

RESEND_S = 3.0
RESEND_MAX_S = 60.0
"""The wait doubles up to this, so that a master that cannot store reports is not flooded."""

RESENT_AT_ONCE = 100
KEPT_REPORTS = 3600


@dataclass(slots=True)
class _Kept:
    """A report that the master has not acknowledged; it is sent again after `pause` seconds."""

    sequence: int
    data: bytes
    sent: float
    pause: float


class Outbox:
    """Numbers and keeps reports; `push` sends one. `sequence` is the last number used."""

    def __init__(self, push: Callable[[bytes], bool]) -> None:
        self._push = push
        self._kept: deque[_Kept] = deque()
        self._dropped = 0
        self.sequence = 0

    @property
    def next(self) -> int:
        """The number of the next report."""
        return self.sequence + 1

    @property
    def oldest(self) -> int:
        """The number of the oldest kept report, or of the next one if none is kept."""
        return self._kept[0].sequence if self._kept else self.next

    @property
    def empty(self) -> bool:
        """Whether all reports are acknowledged."""
        return not self._kept

    def send(self, data: bytes) -> None:
        """Send the next report. Drop the oldest if too many are unacknowledged."""
        self.sequence += 1
        while len(self._kept) >= KEPT_REPORTS:
            self._kept.popleft()
            self._dropped += 1
        self._kept.append(_Kept(self.sequence, data, clock.monotonic(), RESEND_S))
        self._push(data)

    def take_dropped(self) -> int:
        """Return the number of reports dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def acknowledge(self, sequence: int) -> None:
        """Forget the reports up to `sequence`; resend some of the others that are due."""
        while self._kept and self._kept[0].sequence <= sequence:
            self._kept.popleft()
        now, again = clock.monotonic(), 0
        for kept in self._kept:
            if now - kept.sent > kept.pause and again < RESENT_AT_ONCE:
                kept.sent, kept.pause = now, min(RESEND_MAX_S, 2 * kept.pause)
                again += 1
                self._push(kept.data)
