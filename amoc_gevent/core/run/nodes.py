"""What a master knows of a node from its reports, each of which counts exactly once."""

from dataclasses import dataclass, field

from amoc_gevent.core.messages import Clock, Health, Report, State, UserCounts
from amoc_gevent.core.run.plan import Plan


@dataclass(slots=True)
class NodeView:
    """One node, in one life of its process (`incarnation`).

    What it says of itself is that of its newest report: one that was sent again comes late.
    `acknowledged` is the number up to which no report is missing, `ahead` has those after a gap,
    and up to `saved` a master that is started again will know of them. `heard` and `received` are
    the master's monotonic and steady time of the newest report. It is `lost` while it is not heard
    for the lease, and has `left` when it said that it ends.
    """

    name: str
    incarnation: str
    place: str = ""
    workers: int = 0
    state: State = "stopped"
    run: str = ""
    plan_version: int = 0
    users: UserCounts = field(default_factory=UserCounts)
    clock: Clock = field(default_factory=Clock)
    health: tuple[Health, ...] = ()
    wants: str = ""
    newest: int = 0
    acknowledged: int = 0
    ahead: set[int] = field(default_factory=set)
    saved: int = 0
    heard: float = 0.0
    sent: float = 0.0
    received: float = 0.0
    lost: bool = False
    left: bool = False

    def is_new(self, report: Report) -> bool:
        """Note a report's number; False when that report was taken in before.

        Reports that the node no longer keeps will never come: nobody waits for them.
        """
        new = report.sequence > self.acknowledged and report.sequence not in self.ahead
        if new:
            self.ahead.add(report.sequence)
        if report.oldest - 1 > self.acknowledged:
            self.acknowledged = report.oldest - 1
            self.ahead = {number for number in self.ahead if number > self.acknowledged}
        while self.acknowledged + 1 in self.ahead:
            self.acknowledged += 1
            self.ahead.remove(self.acknowledged)
        return new

    def give_up_gaps(self) -> None:
        """Wait no more for what is missing before the newest report."""
        self.acknowledged = max(self.ahead, default=self.acknowledged)
        self.ahead.clear()

    def note(self, report: Report) -> bool:
        """Take over what the node says of itself, unless a later report has said it already.

        Return whether this one is the newest.
        """
        if report.sequence <= self.newest:
            return False
        self.newest, self.run, self.state = report.sequence, report.run, report.state
        self.plan_version, self.users = report.plan_version, report.users
        self.workers, self.sent = report.workers, report.sent
        self.wants, self.clock = report.wants, report.clock
        if report.health:
            self.health = report.health
        return True

    @property
    def present(self) -> bool:
        """Whether it can have users."""
        return not self.lost and not self.left

    def behind(self, plan: Plan) -> bool:
        """Whether it has not got this plan yet."""
        return not self.has(plan.run, plan.version)

    def has(self, run: str, version: int) -> bool:
        """Whether it has the plan of this run and version, or a newer one."""
        return self.run == run and self.plan_version >= version

    def follows(self, run: str, state: State) -> bool:
        """Whether the node is in `state` towards `run`."""
        return self.run == run and self.state == state

    @property
    def complete(self) -> bool:
        """Whether no report is missing between the first and the newest."""
        return not self.ahead
