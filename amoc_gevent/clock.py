"""The only module that reads a clock.

Durations come from the monotonic clock. Wall time labels things, and is what the kernel stamps
arriving bytes with (SO_TIMESTAMPNS), so a service time is wall minus wall, a few milliseconds
apart; a step of the wall clock shows in `wall_minus_monotonic`.
"""

import time
from datetime import UTC, datetime

monotonic = time.monotonic
"""Seconds (float) on a clock that never steps; the same for all processes of a machine."""

monotonic_ns = time.monotonic_ns
"""Nanoseconds (int) on the same clock."""

wall_ns = time.time_ns
"""Nanoseconds (int) since 1970, CLOCK_REALTIME: the clock of the kernel's stamps."""

cpu_ns = time.process_time_ns
"""CPU time (ns, user and system) that this process has used."""


def wall() -> float:
    """Seconds since 1970."""
    return time.time()


_ORIGIN = time.time() - time.monotonic()


def steady() -> float:
    """Seconds since 1970 that never step: wall time when this process began, monotonic since.

    A master's time, by which a plan's start slots and the rows of a run are counted.
    """
    return _ORIGIN + time.monotonic()


def wall_minus_monotonic() -> float:
    """Seconds between the two clocks: it changes only when the wall clock is stepped or slewed."""
    return (time.time_ns() - time.monotonic_ns()) / 1e9


def iso(seconds: float) -> str:
    """`seconds` since 1970 as an ISO 8601 label in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


_correction_ns = 0


def correct(seconds: float) -> None:
    """Have `cluster_ns` add `seconds`: by how much the master's time is ahead of the wall clock."""
    global _correction_ns  # noqa: PLW0603  # one clock for the process
    _correction_ns = round(seconds * 1e9)


def cluster_ns() -> int:
    """Nanoseconds (int) since 1970 of the master's time.

    By it times that were taken on several machines can be compared.
    """
    return time.time_ns() + _correction_ns
