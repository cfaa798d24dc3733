"""The seconds of one node while its workers still report them: merged, and handed on once whole.

Counts and histograms of all workers add up. A level stays what it was until its worker sets it
anew, so a worker that is late, or has ended, counts with its last one.
"""

from dataclasses import dataclass, field

from amoc_gevent.core.measure.snapshot import Gauge, Snapshot
from amoc_gevent.core.messages import Health


@dataclass(slots=True)
class Second:
    """What the workers reported of one second of the master's time so far."""

    second: int
    snapshot: Snapshot = field(default_factory=Snapshot)
    health: list[Health] = field(default_factory=list)
    levels: dict[int, dict[str, Gauge]] = field(default_factory=dict)


class OpenSeconds:
    """Seconds by number, and the levels that each worker last reported."""

    def __init__(self) -> None:
        self._open: dict[int, Second] = {}
        self._levels: dict[int, dict[str, Gauge]] = {}
        self._taken = -1

    def add(self, worker: int, second: int, snapshot: Snapshot, health: tuple[Health, ...]) -> None:
        """Merge what `worker` measured in `second`; the snapshot is not used again."""
        levels, snapshot.gauges = snapshot.gauges, {}
        found = self._open.get(second)
        if found is None:
            found = self._open[second] = Second(second, snapshot)
        else:
            found.snapshot.merge(snapshot)
        found.levels[worker] = levels
        found.health.extend(health)

    def note(self, second: int, health: Health) -> None:
        """Note how a worker fared that told nothing of `second`; its levels stay what they were."""
        self._open.setdefault(second, Second(second)).health.append(health)

    def drop_levels(self, worker: int) -> None:
        """Forget the levels of a worker that ended: what they told of is gone with it."""
        self._levels.pop(worker, None)
        for found in self._open.values():  # else the last of them would take their place
            found.levels.pop(worker, None)

    @property
    def oldest(self) -> float:
        """The first second that waits to be taken, infinity when there is none."""
        return min(self._open, default=float("inf"))

    def take(self, through: float) -> list[Second]:
        """Hand over the seconds up to `through`, ascending.

        What comes in for one of them later is handed over by itself, without levels: those of a
        second must be added up only once.
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
