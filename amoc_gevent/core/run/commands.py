"""The verbs: what the command line, the console and signals ask the master to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amoc_gevent.core.run.plan import Options


@dataclass(frozen=True, slots=True)
class Do:
    """Start a run of `scenario` with users `first` to `last`.

    `duration` (s) ends it gently, None lets it go on until it is stopped or all users ended.
    `nodes` are those that shall take users, in that order; empty: all, in the order in which they
    joined. `strategy` says how users are spread over them.
    """

    scenario: str
    first: int
    last: int
    settings: Mapping[str, str] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    duration: float | None = None
    comment: str = ""
    nodes: tuple[str, ...] = ()
    strategy: str = ""


@dataclass(frozen=True, slots=True)
class Add:
    """Add `count` users, under the ids after the highest ever used; on `nodes`, or on all."""

    count: int
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the `count` users with the highest ids, or all there are; of `nodes`, or of all."""

    count: int
    force: bool = False
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Set:
    """Change a setting of the scenario, or an option of the run, while it goes on.

    A new `user_rate` is that of the users who are added from then on.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Start no new users until `Resume`; those that have started go on."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Start users again, from where `Pause` stopped."""


@dataclass(frozen=True, slots=True)
class Rebalance:
    """Spread the users evenly over all nodes of now, moving no more of them than need be."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run: gently and after its stop time-out by force, or by force at once."""

    force: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """Tell how the run and its users are."""


@dataclass(frozen=True, slots=True)
class Describe:
    """Return what the scenario of the run declares, of the run that goes on or ended last."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Tell which nodes there are and how they fare."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Tell which runs there were, the latest first."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Return the summary of a run, of the latest where `run` is empty."""

    run: str = ""


Command = (
    Do
    | Add
    | Remove
    | Set
    | Pause
    | Resume
    | Rebalance
    | Stop
    | Status
    | Describe
    | Nodes
    | Runs
    | Summary
)
