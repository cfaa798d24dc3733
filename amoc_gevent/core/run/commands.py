"""The verbs: what the command line, the console and signals ask the master to do.

Each is spelled once, here. Its name is that of its class, in small letters. Click's commands and
the decoder of JSON requests are made from the fields; the first paragraph of the docstring is its
help. In the metadata of a field, `help` explains it, `metavar` and `choices` are for click,
`argument` has it follow the verb without a flag, and `hidden` keeps it off the command line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amoc_gevent.core.run.plan import STRATEGIES, Options

_NODES = {"help": "Only on these nodes.", "metavar": "NAME,..."}


@dataclass(frozen=True, slots=True)
class Do:
    """Start a run of SCENARIO with the users FIRST to LAST.

    `duration` (s) ends it gently, None lets it go on until it is stopped or all users ended.
    `nodes` take the users, in that order; empty: all, in the order in which they joined. `strategy`
    says how users are spread over them.
    """

    scenario: str
    first: int
    last: int
    settings: Mapping[str, str] = field(
        default_factory=dict, metadata={"help": "Set a setting.", "metavar": "NAME=VALUE"}
    )
    options: Options = field(default_factory=Options)
    duration: float | None = field(
        default=None, metadata={"help": "End gently after this time.", "metavar": "TIME"}
    )
    comment: str = field(default="", metadata={"help": "Goes into the summary."})
    nodes: tuple[str, ...] = field(default=(), metadata=_NODES)
    strategy: str = field(
        default="",
        metadata={"help": "How users are spread over nodes.", "choices": STRATEGIES},
    )


@dataclass(frozen=True, slots=True)
class Add:
    """Add COUNT users, under the next ids.

    Those are the ids after the highest ever used. Without `nodes`, all nodes take users.
    """

    count: int
    nodes: tuple[str, ...] = field(default=(), metadata=_NODES)


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the COUNT users with the highest ids.

    Where there are fewer, all are removed. Without `nodes`, they are those of all nodes.
    """

    count: int
    force: bool = field(
        default=False, metadata={"help": "End them at once, in the middle of what they do."}
    )
    nodes: tuple[str, ...] = field(default=(), metadata=_NODES)


@dataclass(frozen=True, slots=True)
class Set:
    """Change a setting of the scenario, or an option such as user_rate.

    A new `user_rate` is that of the users who are added from then on.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Start no new users; those that have started go on."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Start users again, from where pause stopped."""


@dataclass(frozen=True, slots=True)
class Rebalance:
    """Spread the users evenly over the nodes there are now.

    No more of them move than need be.
    """


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run.

    Gently, and after its stop time-out by force, or by force at once.
    """

    force: bool = field(
        default=False, metadata={"help": "At once, in the middle of what users do."}
    )


@dataclass(frozen=True, slots=True)
class Status:
    """Show the run, its users and operations."""


@dataclass(frozen=True, slots=True)
class Describe:
    """Show what the scenario of the run declares.

    That is of the run that goes on or that ended last, as its workers have loaded it.
    """


@dataclass(frozen=True, slots=True)
class Nodes:
    """Show the nodes, what each of them does and how it fares."""


@dataclass(frozen=True, slots=True)
class Runs:
    """List the runs, the latest first."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Show what RUN did, or the latest run.

    The answer to the `form` json is the summary, to text it is a report as wide as `width`, in
    `colour` or without.
    """

    run: str = field(default="", metadata={"argument": True})
    form: str = field(default="json", metadata={"hidden": True})
    width: int = field(default=100, metadata={"hidden": True})
    colour: bool = field(default=False, metadata={"hidden": True})


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

VERBS: dict[str, type[Command]] = {
    kind.__name__.lower(): kind
    for kind in (
        Do,
        Add,
        Remove,
        Set,
        Pause,
        Resume,
        Rebalance,
        Stop,
        Status,
        Describe,
        Nodes,
        Runs,
        Summary,
    )
}
"""All commands by their names, in the order in which help lists them."""
