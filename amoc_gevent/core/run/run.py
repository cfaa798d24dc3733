"""One execution of a scenario: an object that begins and ends, read by every output."""

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
    """A run: what was asked for, how it stands, what was measured.

    Times are seconds since 1970 of the master's steady clock, 0 while they lie ahead. `ended_ids`
    are the users that ended by themselves. `clocks` has for each node how its clocks stood to the
    master's, as it last said. `declared` is the scenario's manifest, once a node has loaded it.
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
        """The run's unique name."""
        return self.plan.run

    @property
    def status(self) -> Status:
        """Where the run is in its life."""
        return self.plan.status

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.plan.status in {"starting", "running", "stopping"}

    @property
    def scenario(self) -> str:
        """The scenario's name."""
        directory, name = dirname(self.plan.scenario), basename(self.plan.scenario)
        return basename(directory) if name == "__init__.py" else splitext(name)[0]

    @property
    def events(self) -> list[Event]:
        """What happened in it that is worth knowing."""
        return self.results.events

    @property
    def assigned(self) -> int:
        """How many users were ever asked for."""
        return sum(batch.last - batch.first + 1 for batch in self.plan.batches)

    @property
    def removed(self) -> int:
        """How many of them were removed by command."""
        found = IdSet()
        for removal in self.plan.removals:
            found.add_range(removal.ids)
        return len(found)

    def end_users(self, first: int, last: int) -> None:
        """Note that the users `first` to `last` ended by themselves, as far as they are its own."""
        first, last = max(first, self.first), min(last, self.plan.highest)
        self.ended_ids.add(first, last)
        self._gone.add(first, last)

    @property
    def gone(self) -> int:
        """How many users ended by themselves or were removed, each once."""
        for removal in self.plan.removals[self._removals_seen :]:
            self._gone.add_range(removal.ids)
        self._removals_seen = len(self.plan.removals)
        return len(self._gone)

    def counted(self, reported: UserCounts) -> UserCounts:
        """Return the users by state, given what the nodes `reported`; they sum to all users.

        Done are only those whose ids ended by themselves or were removed, never those of whom a
        node says that it has them no more: others may have them by now. The rest waits for a node,
        and is done once the run stops.
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
        """Return whether by this count every user ended, and not all of them by being removed."""
        return users.done == self.assigned and self.removed < self.assigned

    @property
    def futile(self) -> str:
        """Why the run was for nothing: what it did, none of which succeeded. Else empty.

        A scenario without operations is judged by its rounds.
        """
        total = self.results.total
        operations = total.operations.values()
        count = sum(one.count for one in operations)
        errors = sum(one.errors for one in operations)
        interrupted = sum(one.interrupted for one in operations)
        if count + interrupted:
            if errors < count:
                return ""
            cut = f", and {format_count(interrupted)} were interrupted" if interrupted else ""
            return f"none of {counted(count, 'operation')} succeeded{cut}"
        if total.failed and total.failed == total.iterations:
            return f"none of {counted(total.iterations, 'round')} succeeded"
        return ""

    def elapsed(self, now: float) -> float:
        """Seconds since its first user's slot, up to its end."""
        if not self.started_at:
            return 0.0
        return max(0.0, (self.ended_at or now) - self.started_at)
