"""The answers: one dataclass for each verb, which prompts, `--json`, hosts and pages show.

That of `summary` is in `core.run_summary`: only who asks for it loads its many parts.

`as_json` and `from_json` of `core.json_codec` turn each of them into its JSON object and back. Labels of
times are ISO 8601. A field with a default may be missing in an answer.
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
    """`do`: the id of the new run, and how many users it has."""

    run: str
    users: int


@dataclass(frozen=True, slots=True)
class Added(Answer):
    """`add`: the ids of the new users, both inclusive."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Removed(Answer):
    """`remove`: how many users were removed."""

    removed: int


@dataclass(frozen=True, slots=True)
class Changed(Answer):
    """`set`: a setting or option and its new value as it was given. In JSON: `{name: value}`."""

    name: str
    value: str

    def to_json(self) -> dict[str, object]:
        """Return the JSON object."""
        return {self.name: self.value}

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> "Changed":
        """Return the change of a JSON object. ValueError where it is not one name and text."""
        ((name, value),) = data.items()
        if not isinstance(value, str):
            raise TypeError(f"{value!r} instead of str")
        return cls(name, value)


@dataclass(frozen=True, slots=True)
class Pausing(Answer):
    """`pause`, `resume`: whether new users are held back now."""

    run: str
    paused: bool


@dataclass(frozen=True, slots=True)
class Rebalanced(Answer):
    """`rebalance`: the number of moves in the plan that spread the users evenly."""

    run: str
    moves: int


@dataclass(frozen=True, slots=True)
class Stopping(Answer):
    """`stop`: the status of the run, and whether its users are ended by force."""

    run: str
    status: Status
    force: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFigures:
    """One operation up to now: counts, and percentiles of its latency in µs."""

    count: int
    errors: int
    interrupted: int = 0
    p50_us: float
    p95_us: float


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """A group of exceptions that users raised: `place` is `file:line`."""

    type: str
    place: str
    count: int


@dataclass(frozen=True, slots=True)
class IdleStatus(Answer):
    """`status` of a master that has had no run: the number of its nodes."""

    status: Literal["idle"]
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus(Answer):
    """`status` of a master: its run, which goes on or has ended; `elapsed_s` in seconds.

    `nodes` are present now, `workers` are the run's. `failure` is a line, `failure_detail` a
    traceback; `failure_usage` marks a wrong use, such as an unknown setting.
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
    """`describe`: what the scenario `name` of a run declares; fields as in `Manifest`."""

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
    """`status` of a node: its `run` (empty: none) with the plan's `status`.

    `master` is a host, None for the home's own. `master_heard_s` is seconds since the master was
    heard, None: never; `lease_s` is how long the node may have users without hearing it again.
    `refused` says why the master refused it. Its clock is `clock_offset_us` behind the master's,
    within `clock_bound_us` (None: not known yet).
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
    """One node of `nodes`; None where something is not known.

    `place` is `host:home`, `heard_s` seconds since its last report. Its wall clock is
    `clock_offset_us` behind the master's, within `clock_bound_us`. `cpu` is the share of a core and
    `lag_us` the lag in µs of its busiest worker.
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
    """`nodes`: all nodes, in the order in which they joined."""

    nodes: tuple[NodeLine, ...]


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run of `runs`: labels of its start and end (None: not yet), counts, its comment.

    Its status is "lost" where the process that held it is gone and has not stored its end.
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
    """`runs`: the latest first."""

    runs: tuple[RunLine, ...]


@dataclass(frozen=True, slots=True)
class TextReport(Answer):
    """`summary` with `form` text: the closing report, in lines as wide as was asked for."""

    report: str


@dataclass(frozen=True, slots=True)
class WatchedStatus(Answer):
    """A part of `watch` with `form` json; the last one has the `run` and the status it `ended` in.

    In JSON the last two are missing before.
    """

    status: RunStatus
    run: str | None = field(default=None, metadata={"omit": True})
    ended: Status | None = field(default=None, metadata={"omit": True})


@dataclass(frozen=True, slots=True)
class WatchedLines(Answer):
    """A part of `watch` with `form` table or lines; `run` and `ended` as in `WatchedStatus`."""

    lines: tuple[str, ...]
    run: str | None = field(default=None, metadata={"omit": True})
    ended: Status | None = field(default=None, metadata={"omit": True})


@dataclass(frozen=True, slots=True)
class NodeDaemon(Answer):
    """`daemon` of a node: `home` and `log` (None: standard error) are paths, `up_s` seconds."""

    kind: Literal["node"]
    pid: int
    version: str
    home: str
    log: str | None
    up_s: float


@dataclass(frozen=True, slots=True)
class MasterDaemon(Answer):
    """`daemon` of a master, as `NodeDaemon`.

    `endpoints` are the addresses for nodes on other machines, of plan and reports. `run` is the run
    that it went on with.
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
    """`shutdown`: which daemon ends now."""

    kind: str
    pid: int


@dataclass(frozen=True, slots=True)
class End(Answer):
    """The empty answer after the last part of a stream."""
