"""The answers to commands, shown by prompts, `--json`, hosts and pages: one dataclass a verb.

The answer to `summary` is in `core.run_summary`: its many dataclasses load only when needed.

`as_json` and `from_json` in `core.json_codec` convert each answer to its JSON object and back. Time
labels are ISO 8601. A field with a default may be missing from the JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from amoc_gevent.core.manifest import DeclaredSetting
from amoc_gevent.core.run.plan import Status


class Answer:
    """The answer to a command or request."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class UsersByState:
    """Users by state; fields as in `UserCounts`."""

    waiting: int = 0
    running: int = 0
    resting: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True)
class Started(Answer):
    """`do`: the id of the new run and its number of users."""

    run: str
    users: int


@dataclass(frozen=True, slots=True)
class Added(Answer):
    """`add`: the ids of the new users, both inclusive."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Removed(Answer):
    """`remove`: the number of users removed, and the number asked for."""

    removed: int
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Changed(Answer):
    """`set`: a setting or option and its new value, as typed. In JSON: `{name: value}`."""

    name: str
    value: str

    def to_json(self) -> dict[str, object]:
        """Return the JSON object."""
        return {self.name: self.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Changed":
        """Return the change that `{name: value}` holds.

        Raises ValueError unless there is exactly one name, TypeError unless its value is text.
        """
        ((name, value),) = data.items()
        if not isinstance(value, str):
            raise TypeError(f"{value!r} instead of str")
        return cls(name, value)


@dataclass(frozen=True, slots=True)
class Pausing(Answer):
    """`pause`, `resume`: whether the run is paused."""

    run: str
    paused: bool


@dataclass(frozen=True, slots=True)
class Rebalanced(Answer):
    """`rebalance`: the number of moves added to the plan to spread the users evenly."""

    run: str
    moves: int


@dataclass(frozen=True, slots=True)
class Stopping(Answer):
    """`stop`: the status of the run, and whether the stop is forced."""

    run: str
    status: Status
    force: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFigures:
    """One operation so far: counts, and latency percentiles in µs."""

    count: int
    errors: int
    interrupted: int = 0
    p50_us: float
    p95_us: float


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """A group of exceptions raised by users; `place` is `file:line`."""

    type: str
    place: str
    count: int


@dataclass(frozen=True, slots=True)
class IdleStatus(Answer):
    """`status` of a master without a run so far: the number of its nodes."""

    status: Literal["idle"]
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus(Answer):
    """`status` of a master: its current or latest run.

    `nodes` counts the nodes present now, `workers` the workers of the run. `failure` is one line,
    `failure_detail` a traceback. `failure_usage` marks a mistake in the command, such as an
    unknown setting.
    """

    run: str
    scenario: str
    status: Status
    paused: bool = False
    comment: str = ""
    elapsed_s: float
    nodes: int
    workers: int
    users: UsersByState
    failure: str | None
    failure_detail: str
    failure_usage: bool = False
    operations: Mapping[str, OperationFigures]
    errors: tuple[ErrorCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description(Answer):
    """`describe`: the declarations of the run's scenario `name`; fields as in `Manifest`."""

    run: str
    name: str
    docstring: str = ""
    callbacks: tuple[str, ...] = ()
    settings: tuple[DeclaredSetting, ...] = ()
    operations: tuple[str, ...] = ()
    profile: str = ""
    throttles: tuple[str, ...] = ()
    expectations: tuple[str, ...] = ()
    feeders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus(Answer):
    """`status` of a node: its `run` (empty if none) and the `status` in the plan.

    `master` is a host, or None for the master of the same home. `master_heard_s` is the number of
    seconds since the last message from the master, None if there was none. `lease_s` is how much
    longer the node may run users without another message. `refused` says why the master refused the
    node. The node's wall clock is `clock_offset_us` behind the master's, give or take
    `clock_bound_us` (None until measured).
    """

    kind: Literal["node"]
    master: str | None
    name: str
    workers: int
    state: str
    joined: bool
    run: str = ""
    status: str = ""
    master_heard_s: float | None = None
    lease_s: float = 0.0
    refused: str = ""
    clock_offset_us: int | None = None
    clock_bound_us: int | None = None
    users: UsersByState = field(default_factory=UsersByState)


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node of `nodes`. Fields are None where the value is not known.

    `place` is `host:home`, `heard_s` the number of seconds since the last report. The node's wall
    clock is `clock_offset_us` behind the master's, give or take `clock_bound_us`. `cpu` (share of a
    core) and `lag_us` are the highest of any worker.
    """

    name: str
    state: str
    place: str = ""
    workers: int | None = None
    users: UsersByState = field(default_factory=UsersByState)
    heard_s: float | None = None
    clock_offset_us: int | None = None
    clock_bound_us: int | None = None
    cpu: float | None = None
    lag_us: int | None = None


@dataclass(frozen=True, slots=True)
class NodeList(Answer):
    """`nodes`: all nodes in the order in which they joined."""

    nodes: tuple[NodeLine, ...]


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run of `runs`. `started` and `ended` are time labels, None if that is yet to come.

    The status is "lost" if the process that held the run is gone and stored no end.
    """

    run: str
    scenario: str
    status: str
    started: str | None = None
    ended: str | None = None
    users: int | None = None
    operations: int | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class RunList(Answer):
    """`runs`: all runs, latest first."""

    runs: tuple[RunLine, ...]


@dataclass(frozen=True, slots=True)
class TextReport(Answer):
    """`summary` with `form` text: the closing report, as wide as requested."""

    report: str


@dataclass(frozen=True, slots=True)
class WatchedStatus(Answer):
    """One part of `watch` with `form` json.

    Only the last part has `run` and `ended`, the final status. Earlier parts omit both in JSON.
    """

    status: RunStatus
    run: str | None = field(default=None, metadata={"omit": True})
    ended: Status | None = field(default=None, metadata={"omit": True})


@dataclass(frozen=True, slots=True)
class WatchedLines(Answer):
    """One part of `watch` with `form` table or lines; `run` and `ended` as in `WatchedStatus`."""

    lines: tuple[str, ...]
    run: str | None = field(default=None, metadata={"omit": True})
    ended: Status | None = field(default=None, metadata={"omit": True})


@dataclass(frozen=True, slots=True)
class NodeDaemon(Answer):
    """`daemon` of a node. `home` and `log` are paths; `log` is None for standard error."""

    kind: Literal["node"]
    pid: int
    version: str
    home: str
    log: str | None
    up_s: float


@dataclass(frozen=True, slots=True)
class MasterDaemon(Answer):
    """`daemon` of a master; fields as in `NodeDaemon`, and two more.

    `endpoints` are the addresses of plan and reports for nodes on other machines. `run` is the run
    that this master continued.
    """

    kind: Literal["master"]
    pid: int
    version: str
    home: str
    log: str | None
    up_s: float
    endpoints: tuple[str, str] | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Ending(Answer):
    """`shutdown`: the daemon that ends now."""

    kind: str
    pid: int


@dataclass(frozen=True, slots=True)
class End(Answer):
    """The empty answer after the last part of a stream."""
