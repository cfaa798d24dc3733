"""How far a run has come: facts that are not stored, and the moment at which they are judged."""

from dataclasses import dataclass

ALL_PLACED = float("inf")
"""The value of `unplaced_since` while every user has a node."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by both clocks of the master: its steady time and the monotonic one."""

    steady: float
    monotonic: float


@dataclass(frozen=True, slots=True)
class TransientState:
    """Facts about a run that are not stored: a new master begins with new ones.

    The master began at `since` and the number of running users last changed at `progressed` (both
    steady time). Users were last `counted` at this monotonic time, and are `uncounted` when a node
    has reported since. Users are without a node since `unplaced_since` (monotonic), and the nodes in
    `joined` are new processes whose users start anew.
    """

    since: float = 0.0
    progressed: float = 0.0
    counted: float = 0.0
    uncounted: bool = False
    unplaced_since: float = ALL_PLACED
    joined: frozenset[str] = frozenset()
