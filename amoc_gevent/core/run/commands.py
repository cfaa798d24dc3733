"""The commands to the master: one dataclass for each verb.

The command line, the prompt and signals all send these. A verb's name, options and help are defined
only here: its name is the class name in lower case, and click commands and the decoder of JSON
requests are generated from the fields. The first paragraph of the docstring is the help text. In a
field's metadata, `help`, `metavar` and `choices` are for click, `argument` makes a field
positional, and `hidden` keeps it off the command line.

A new verb also needs a handler in `master/command_handler.py`, its answer in `core/answers.py` and
`core/answer_types.py`, the answer's text in `cli/steering/formatting.py`, and, to be a command of
the shell, its name in `cli/steering/remote.py` and `cli/main.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amoc_gevent.core.run.plan import STRATEGIES, Options
from amoc_gevent.errors import UsageError

ID_MAX = 2**53
"""Ids are also sent as JSON numbers, which are exact up to this value."""


def check_ids(first: int, last: int) -> None:
    """Raise UsageError for ids the wrong way round or out of range."""
    if last < first:
        raise UsageError(f"users {first} to {last}: FIRST must not be above LAST")
    if first < 1 or last > ID_MAX:
        raise UsageError(f"users {first} to {last}: ids are from 1 to {ID_MAX}")


_NODES = {"help": "Only on these nodes.", "metavar": "NAME,..."}


@dataclass(frozen=True, slots=True)
class Do:
    """Start a run of SCENARIO with users FIRST to LAST.

    After `duration` seconds the run stops gently. If None, it goes on until `stop` or until all
    users have ended. `nodes` take users in the given order; if empty, all nodes in the order in
    which they joined. `strategy` says how users are spread over them.
    """

    scenario: str
    first: int
    last: int
    settings: Mapping[str, str] = field(
        default_factory=dict,
        metadata={"help": "Set a setting of the scenario.", "metavar": "NAME=VALUE"},
    )
    options: Options = field(default_factory=Options)
    duration: float | None = field(
        default=None, metadata={"help": "End the load after this time.", "metavar": "TIME"}
    )
    comment: str = field(default="", metadata={"help": "Comment in the summary."})
    nodes: tuple[str, ...] = field(default=(), metadata=_NODES)
    strategy: str = field(
        default="",
        metadata={
            "help": "How to spread users over the nodes [round-robin].",
            "choices": STRATEGIES,
        },
    )


@dataclass(frozen=True, slots=True)
class Add:
    """Add COUNT users with the next free ids.

    Ids continue after the highest one ever used in the run. Without `nodes`, all nodes take users.
    """

    count: int
    nodes: tuple[str, ...] = field(default=(), metadata=_NODES)


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the COUNT users with the highest ids.

    If there are fewer users, all are removed. Without `nodes`, users of all nodes are removed.
    """

    count: int
    force: bool = field(default=False, metadata={"help": "Interrupt these users at once."})
    nodes: tuple[str, ...] = field(default=(), metadata=_NODES)


@dataclass(frozen=True, slots=True)
class Set:
    """Change a setting of the scenario, or a run option such as user_rate.

    A new `user_rate` applies to users added afterwards.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop starting users. Users that have started continue."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Start users again, where pause left off."""


@dataclass(frozen=True, slots=True)
class Rebalance:
    """Spread users evenly over the connected nodes.

    As few users as possible move.
    """


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the run: gently at first, by force after the stop timeout.

    A gentle stop lets users finish their iteration. Force interrupts them.
    """

    force: bool = field(default=False, metadata={"help": "Interrupt all users at once."})


@dataclass(frozen=True, slots=True)
class Status:
    """Show the status of the run, its users and its operations."""


@dataclass(frozen=True, slots=True)
class Describe:
    """Show the declarations of the run's scenario.

    The run is the current or the latest one. The declarations are those that its workers loaded.
    """


@dataclass(frozen=True, slots=True)
class Nodes:
    """Show the state, users and health of each node."""


@dataclass(frozen=True, slots=True)
class Runs:
    """List all runs, latest first."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Show the summary of RUN, or of the latest run.

    With `form` json the answer is the summary as data. With text it is a report of `width` columns,
    with or without `colour`.
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
"""All commands by name, in the order in which help lists them."""
