"""Changes of a run, as data. Decisions return them; the owner of the run's state applies them.

A list of changes is applied in order.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlanChange:
    """New values for fields of the plan, which also gets a new version."""

    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RunChange:
    """New values for fields of the run."""

    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TransientChange:
    """New values for fields of the transient state, which is not stored."""

    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A new event for the summary."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class RaiseVersion:
    """A new plan version, higher than `version`, which a node has from the previous master."""

    version: int


@dataclass(frozen=True, slots=True)
class EndRun:
    """The end of the run, at `at` seconds since 1970 by the master's steady clock."""

    at: float


Change = PlanChange | RunChange | TransientChange | NewEvent | RaiseVersion | EndRun
