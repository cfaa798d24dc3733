"""The verbs: what the command line, the console and signals ask the master to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amoc_gevent.core.plan import Options


@dataclass(frozen=True, slots=True)
class Do:
    """Start a run of `scenario` with users `first` to `last`.

    `duration` (s) ends it gently, None lets it go on until it is stopped or all users ended.
    """

    scenario: str
    first: int
    last: int
    settings: Mapping[str, str] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    duration: float | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Add:
    """Add `count` users, under the ids after the highest ever used."""

    count: int


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the `count` users with the highest ids, or all there are."""

    count: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class Set:
    """Change a setting of the scenario, or an option of the run, while it goes on.

    A new `user_rate` is that of the users who are added from then on.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run: gently and after its stop time-out by force, or by force at once."""

    force: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """Tell how the run and its users are."""


Command = Do | Add | Remove | Set | Stop | Status
