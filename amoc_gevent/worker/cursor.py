"""When the users of one share start, by the clock of this machine."""

from dataclasses import dataclass

from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.run.placement import Share
from amoc_gevent.core.run.plan import delayed


@dataclass(slots=True)
class Calendar:
    """From the times of the plan to those of this machine.

    `offset` is the master's time minus the monotonic clock; no user starts within `pauses`.
    """

    offset: float = 0.0
    pauses: tuple[tuple[float, float], ...] = ()

    def due(self, slot: float) -> float:
        """Return when a slot of the plan comes, in monotonic seconds."""
        return (delayed(slot, self.pauses) if self.pauses else slot) - self.offset


@dataclass(slots=True, eq=False)
class Cursor:
    """The users of one share that have not started: `ids[at:]`, none of them before `resume`."""

    share: Share
    ids: range
    calendar: Calendar
    resume: float = float("-inf")
    at: int = 0
    resumed: int = 0

    def due(self) -> float:
        """Return when the next user starts, in monotonic seconds."""
        share = self.share
        slot = share.batch.slot(self.ids[self.at])
        if share.pace:
            slot = max(slot, share.resume + self.resumed * share.pace)
        return max(self.calendar.due(slot), self.resume + self.resumed / share.batch.rate)

    def skip(self, gone: IdSet) -> bool:
        """Pass over those that shall not start; return whether anybody is left."""
        ids = self.ids
        while self.at < len(ids):
            end = gone.interval_end(ids[self.at])
            if end is None:
                return True
            self.at += (end - ids[self.at]) // ids.step + 1
        return False
