"""Computes when the users of one share start, on this machine's monotonic clock."""

from dataclasses import dataclass

from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.run.placement import Share
from amoc_gevent.core.run.plan import delayed


@dataclass(slots=True)
class PlanClock:
    """Converts the plan's start slots to this machine's monotonic time.

    `offset` is the master's time minus the monotonic clock, in seconds. No user starts during
    `pauses`, which are intervals of the master's time.
    """

    offset: float = 0.0
    pauses: tuple[tuple[float, float], ...] = ()

    def due(self, slot: float) -> float:
        """Return the monotonic time of a slot of the plan, in seconds."""
        return (delayed(slot, self.pauses) if self.pauses else slot) - self.offset


@dataclass(slots=True, eq=False)
class Cursor:
    """The users of one share that have not started: `ids[at:]`.

    None of them starts before `resume` (monotonic s). `resumed` counts the starts since then, which
    are spaced by the batch's rate.
    """

    share: Share
    ids: range
    plan_clock: PlanClock
    resume: float = float("-inf")
    at: int = 0
    resumed: int = 0

    def due(self) -> float:
        """Return the monotonic time at which the next user starts, in seconds."""
        share = self.share
        slot = share.batch.slot(self.ids[self.at])
        if share.pace:
            slot = max(slot, share.resume + self.resumed * share.pace)
        return max(self.plan_clock.due(slot), self.resume + self.resumed / share.batch.rate)

    def skip(self, gone: IdSet) -> bool:
        """Skip the next ids while they are in `gone`; return whether any id is left."""
        ids = self.ids
        while self.at < len(ids):
            end = gone.interval_end(ids[self.at])
            if end is None:
                return True
            self.at += (end - ids[self.at]) // ids.step + 1
        return False
