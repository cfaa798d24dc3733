"""A run, one execution of a scenario. Every output reads it."""

from dataclasses import dataclass, field
from posixpath import basename, dirname, splitext

from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.manifest import Declared
from amoc_gevent.core.measure.results import Results
from amoc_gevent.core.messages import Clock, Event, Failure, UserCounts
from amoc_gevent.core.run.plan import Plan, Status
from amoc_gevent.core.units import counted, format_count


@dataclass(slots=True)
class Run:
    """A run: what was requested, its state, and its measurements.

    Times are seconds since 1970 by the master's steady clock, 0 until they come. `ended_ids` are
    the users that ended by themselves. `clocks` has each node's latest clock offsets to the master.
    `declared` is the scenario's manifest, once a node has loaded it.
    """

    plan: Plan
    first: int
    last: int
    comment: str = ""
    duration: float | None = None
    workers: int = 0
    started_at: float = 0.0
    stopping_at: float = 0.0
    ended_at: float = 0.0
    users: UserCounts = field(default_factory=UserCounts)
    ended_ids: IdSet = field(default_factory=IdSet)
    results: Results = field(default_factory=Results)
    failure: Failure | None = None
    final_status: Status = "finished"
    clocks: dict[str, Clock] = field(default_factory=dict)
    declared: Declared | None = None
    _gone: IdSet = field(init=False, repr=False)
    _removals_seen: int = field(init=False, default=0, repr=False)

    def __post_init__(self) -> None:
        self._gone = IdSet(self.ended_ids)

    @property
    def id(self) -> str:
        """The unique id of the run."""
        return self.plan.run

    @property
    def status(self) -> Status:
        """The status of the run."""
        return self.plan.status

    @property
    def active(self) -> bool:
        """Whether the run has not ended."""
        return self.plan.status in {"starting", "running", "stopping"}

    @property
    def scenario(self) -> str:
        """The name of the scenario."""
        directory, name = dirname(self.plan.scenario), basename(self.plan.scenario)
        return basename(directory) if name == "__init__.py" else splitext(name)[0]

    @property
    def events(self) -> list[Event]:
        """The events of the run."""
        return self.results.events

    @property
    def assigned(self) -> int:
        """The number of users ever requested."""
        return sum(batch.last - batch.first + 1 for batch in self.plan.batches)

    @property
    def removed(self) -> int:
        """The number of users removed by command."""
        found = IdSet()
        for removal in self.plan.removals:
            found.add_range(removal.ids)
        return len(found)

    def end_users(self, first: int, last: int) -> None:
        """Note that users `first` to `last` ended by themselves. Ignore ids outside the run."""
        first, last = max(first, self.first), min(last, self.plan.highest)
        self.ended_ids.add(first, last)
        self._gone.add(first, last)

    @property
    def gone(self) -> int:
        """The number of users that ended by themselves or were removed, each counted once."""
        for removal in self.plan.removals[self._removals_seen :]:
            self._gone.add_range(removal.ids)
        self._removals_seen = len(self.plan.removals)
        return len(self._gone)

    def counted(self, reported: UserCounts) -> UserCounts:
        """Return the users by state, given the counts `reported` by nodes. The sum is `assigned`.

        Only ids that ended by themselves or were removed count as done. Users that a node no longer
        has do not, because another node may have them by now. The rest counts as waiting, and as
        done once the run stops.
        """
        running = min(reported.running, self.assigned)
        resting = min(reported.resting, self.assigned - running)
        absent = self.assigned - running - resting
        if self.status in {"starting", "running"}:
            done = max(0, min(self.gone, absent - reported.waiting))
        else:
            done = absent
        return UserCounts(absent - done, running, resting, done)

    def all_ended_by(self, users: UserCounts) -> bool:
        """Return whether every user has ended by this count, and not all by removal."""
        return users.done == self.assigned and self.removed < self.assigned

    @property
    def stopped_after(self) -> float | None:
        """The seconds after which a command or signal ended the run before its duration, or None.

        None also if the run failed, has no duration, or its users ended by themselves before.
        """
        if self.status != "finished" or self.duration is None or not self.stopping_at:
            return None
        if self.stopping_at >= self.plan.load_ends or self.removed < self.assigned <= self.gone:
            return None
        return max(0.0, self.stopping_at - self.started_at) if self.started_at else 0.0

    @property
    def no_success(self) -> str:
        """One line if nothing in the run succeeded, else empty.

        A scenario without operations is judged by its iterations.
        """
        total = self.results.total
        operations = total.operations.values()
        count = sum(one.count for one in operations)
        errors = sum(one.errors for one in operations)
        interrupted = sum(one.interrupted for one in operations)
        if count + interrupted:
            if errors < count:
                return ""
            if not count:
                return f"no operation ended, {format_count(interrupted)} were interrupted"
            cut = f", and {format_count(interrupted)} were interrupted" if interrupted else ""
            return f"none of {counted(count, 'operation')} succeeded{cut}"
        if total.failed and total.failed == total.iterations:
            return f"none of {counted(total.iterations, 'iteration')} succeeded"
        return ""

    def load_time(self, now: float) -> float:
        """Return the seconds in which load was made: `elapsed`, but not beyond the duration."""
        elapsed = self.elapsed(now)
        return elapsed if self.duration is None else min(elapsed, self.duration)

    def elapsed(self, now: float) -> float:
        """Return the seconds from the first user's slot to the end of the run, or to `now`."""
        if not self.started_at:
            return 0.0
        return max(0.0, (self.ended_at or now) - self.started_at)
