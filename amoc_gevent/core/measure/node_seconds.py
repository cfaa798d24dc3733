"""Merges the workers' reports of each second on a node, until the second is complete.

Counts and histograms of all workers are added. A gauge keeps its level until its worker sets it
again, so a worker that is late or has ended counts with its last level.
"""

from dataclasses import dataclass, field

from amoc_gevent.core.measure.snapshot import Gauge, Snapshot
from amoc_gevent.core.messages import Health


@dataclass(slots=True)
class Second:
    """The reports of all workers so far for one second of the master's time."""

    second: int
    snapshot: Snapshot = field(default_factory=Snapshot)
    health: list[Health] = field(default_factory=list)
    levels: dict[int, dict[str, Gauge]] = field(default_factory=dict)


class OpenSeconds:
    """The seconds not complete yet, and the gauge levels that each worker last reported."""

    def __init__(self) -> None:
        self._open: dict[int, Second] = {}
        self._levels: dict[int, dict[str, Gauge]] = {}
        self._taken = -1

    def add(self, worker: int, second: int, snapshot: Snapshot, health: tuple[Health, ...]) -> None:
        """Merge what `worker` measured in `second`. The caller must not use the snapshot again."""
        levels, snapshot.gauges = snapshot.gauges, {}
        found = self._open.get(second)
        if found is None:
            found = self._open[second] = Second(second, snapshot)
        else:
            found.snapshot.merge(snapshot)
        found.levels[worker] = levels
        found.health.extend(health)

    def note(self, second: int, health: Health) -> None:
        """Note the health of a worker that reported nothing for `second`. Its levels stay."""
        self._open.setdefault(second, Second(second)).health.append(health)

    def drop_levels(self, worker: int) -> None:
        """Forget the levels of a worker that ended, because what they measured is gone too."""
        self._levels.pop(worker, None)
        for found in self._open.values():  # else the last of these would replace them
            found.levels.pop(worker, None)

    @property
    def oldest(self) -> float:
        """The first second not taken yet, infinity if there is none."""
        return min(self._open, default=float("inf"))

    def take(self, through: float) -> list[Second]:
        """Remove and return the seconds up to `through`, ascending.

        Later reports for one of them are returned separately, without levels: the levels of a
        second must be added only once.
        """
        seconds = sorted(second for second in self._open if second <= through)
        return [self._take(second) for second in seconds]

    def _take(self, second: int) -> Second:
        found = self._open.pop(second)
        if second > self._taken:
            self._taken = second
            self._levels.update(found.levels)
            for levels in self._levels.values():
                found.snapshot.merge(Snapshot(gauges=levels))
        return found
