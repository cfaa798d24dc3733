"""Changes of a run, as data: decisions return them, and the owner of the run's state applies them.

They hold in the order in which they stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlanChange:
    """New values for fields of the plan, which gets a new version."""

    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RunChange:
    """New values for fields of the run."""

    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TransientChange:
    """New values for fields of the transient, which is not stored."""

    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that a reader of the summary wants to know."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class RaiseVersion:
    """A new version of the plan, above the `version` that a node has of the last master."""

    version: int


@dataclass(frozen=True, slots=True)
class EndRun:
    """The end of the run `at` seconds since 1970 of the master's steady clock."""

    at: float


Change = PlanChange | RunChange | TransientChange | NewEvent | RaiseVersion | EndRun
