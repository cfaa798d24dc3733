"""The only module that reads a clock.

Durations come from the monotonic clock, and labels from wall time. The kernel also stamps arriving
bytes with wall time (SO_TIMESTAMPNS). `wall_origin_s` and `wall_origin_fraction` map these stamps
to the monotonic clock. Two clocks can only be read one after the other, and the process may lose
the CPU in between. So the difference comes from the closest of several pairs of readings. A step
of the wall clock shows in `wall_minus_monotonic`.
"""

import time
from datetime import UTC, datetime

monotonic = time.monotonic
"""Seconds (float) on a clock that never steps; the same for all processes of a machine."""

monotonic_ns = time.monotonic_ns
"""Nanoseconds (int) on the same clock."""

wall_ns = time.time_ns
"""Nanoseconds (int) since 1970 (CLOCK_REALTIME), the clock of the kernel's time stamps."""

cpu_ns = time.process_time_ns
"""CPU time of this process, user and system, in nanoseconds (int)."""


def wall() -> float:
    """Return the wall time in seconds since 1970."""
    return time.time()


_ORIGIN = time.time() - time.monotonic()


def steady() -> float:
    """Return seconds since 1970 on a clock that never steps.

    It is the wall time at the start of this process plus the monotonic time since. This is the
    master's time, which the plan's start slots and the rows of a run use.
    """
    return _ORIGIN + time.monotonic()


_PAIRS = 10


def _read_pair() -> tuple[int, int]:
    """Return wall minus monotonic time and the gap between the two readings around it (ns).

    The difference is wrong by at most half the gap.
    """
    before, middle = monotonic_ns(), wall_ns()
    gap = monotonic_ns() - before
    return middle - before - gap // 2, gap


_CLOSE_NS = max(1000, 2 * min(_read_pair()[1] for _ in range(_PAIRS)))
"""The gap of a pair that is close enough. Reading a clock takes microseconds on some machines."""


def wall_minus_monotonic_ns() -> int:
    """Return wall minus monotonic time (ns), from the closest of up to ten pairs of readings."""
    found, smallest = _read_pair()
    for _ in range(_PAIRS - 1):
        if smallest <= _CLOSE_NS:
            break
        difference, gap = _read_pair()
        if gap < smallest:
            found, smallest = difference, gap
    return found


def wall_minus_monotonic() -> float:
    """Return wall minus monotonic time (s); it changes only if the wall clock steps or slews."""
    return wall_minus_monotonic_ns() / 1e9


ORIGIN_VALID_S = 0.001
"""How long a difference of the clocks is used; a step of the wall clock is noticed after it."""

wall_origin_s = 0
wall_origin_fraction = 0.0
"""Wall time at which the monotonic clock was 0: seconds (int) and their fraction (float).

Apart, they keep nanoseconds: a stamp minus the seconds, minus the fraction, is monotonic time.
"""

wall_origin_until = 0.0
"""Monotonic seconds after which a reader of the origin calls `renew_wall_origin` first."""


def renew_wall_origin() -> None:
    """Measure the origin again."""
    global wall_origin_s, wall_origin_fraction, wall_origin_until  # noqa: PLW0603  # one clock
    wall_origin_s, ns = divmod(wall_minus_monotonic_ns(), 1_000_000_000)
    wall_origin_fraction = ns * 1e-9
    wall_origin_until = monotonic() + ORIGIN_VALID_S


def iso(seconds: float) -> str:
    """Return `seconds` since 1970 as an ISO 8601 label in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


_cluster_offset_ns = 0


def set_cluster_offset(seconds: float) -> None:
    """Set how far the master's time is ahead of the wall clock, in seconds, for `cluster_ns`."""
    global _cluster_offset_ns  # noqa: PLW0603  # one clock for the process
    _cluster_offset_ns = round(seconds * 1e9)


def cluster_ns() -> int:
    """Return the master's time in nanoseconds (int) since 1970.

    It makes times from several machines comparable.
    """
    return time.time_ns() + _cluster_offset_ns
