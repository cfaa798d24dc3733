"""The state of a run that is not stored, and the moment at which decisions are made."""

from dataclasses import dataclass

ALL_PLACED = float("inf")
"""The value of `unplaced_since` while every user has a node."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by both clocks of the master, the steady and the monotonic one."""

    steady: float
    monotonic: float


@dataclass(frozen=True, slots=True)
class TransientState:
    """State of a run that is not stored: a new master starts afresh.

    `since` is when the master started, `progressed` when the number of running users last changed,
    both in steady time. `counted` is when users were last counted (monotonic time); `uncounted`
    says that a node has reported since. Some users have no node since `unplaced_since` (monotonic
    time). The nodes in `joined` are new processes, so their users start again.
    """

    since: float = 0.0
    progressed: float = 0.0
    counted: float = 0.0
    uncounted: bool = False
    unplaced_since: float = ALL_PLACED
    joined: frozenset[str] = frozenset()
