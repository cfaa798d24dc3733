"""The master's view of a node, built from its reports. Each report counts exactly once."""

from dataclasses import dataclass, field

from amoc_gevent.core.messages import Clock, Health, Report, State, UserCounts
from amoc_gevent.core.run.plan import Plan


@dataclass(slots=True)
class NodeView:
    """One process of a node, identified by its `incarnation`.

    The node's state comes from its newest report, because a report that is sent again arrives late.
    No report up to number `acknowledged` is missing; `ahead` has the numbers after a gap. Those up
    to `saved` are stored, so a restarted master knows of them. `heard` and `received` are the
    monotonic and steady time, by the master, of the newest report. The node is `lost` once it sends
    no report for the lease, and has `left` once it says that it ends.
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
        """Note the report's number, and return whether the report is new.

        Reports that the node no longer keeps will never come, so they do not count as missing.
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
        """Stop waiting for the reports missing before the newest one."""
        self.acknowledged = max(self.ahead, default=self.acknowledged)
        self.ahead.clear()

    def note(self, report: Report) -> bool:
        """Update the node's state from `report`, unless a later report was noted before.

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
        """Whether the node can have users."""
        return not self.lost and not self.left

    def behind(self, plan: Plan) -> bool:
        """Whether the node does not have this plan yet."""
        return not self.has(plan.run, plan.version)

    def has(self, run: str, version: int) -> bool:
        """Whether the node has the plan of this run with this version or a newer one."""
        return self.run == run and self.plan_version >= version

    def follows(self, run: str, state: State) -> bool:
        """Whether the node has `run` and is in `state`."""
        return self.run == run and self.state == state

    @property
    def complete(self) -> bool:
        """Whether no report is missing between the first and the newest."""
        return not self.ahead
