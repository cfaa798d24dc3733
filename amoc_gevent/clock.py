"""The only module that reads a clock.

Durations come from the monotonic clock, and labels from wall time. The kernel also stamps arriving
bytes with wall time (SO_TIMESTAMPNS), so a service time is the difference of two wall times that
are a few milliseconds apart. A step of the wall clock shows in `wall_minus_monotonic`.
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


def wall_minus_monotonic() -> float:
    """Return wall minus monotonic time (s); it changes only if the wall clock steps or slews."""
    return (time.time_ns() - time.monotonic_ns()) / 1e9


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
