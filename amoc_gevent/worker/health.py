"""Measures the generator itself each second: lag, CPU, memory and file descriptors."""

import os
import resource
from pathlib import Path

import gevent

from amoc_gevent import clock
from amoc_gevent.core.measure.histogram import Histogram
from amoc_gevent.core.messages import Health
from amoc_gevent.core.units import counted

TIMER_S = 0.1
SPAN_MIN_NS = 500_000_000
"""The shortest span over which CPU is averaged; a run's last span may be 1 ms."""

LISTED_A_SECOND = 2000
"""Open descriptors that may be listed each second, on average (kernels before 6.2)."""

PAGE = resource.getpagesize()
RESERVED_DESCRIPTORS = 64
"""File descriptors that a worker needs besides its users' sockets."""


def raise_descriptor_limit() -> int:
    """Raise the limit on open files as far as allowed; return the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = int(Path("/proc/sys/fs/nr_open").read_text())
    for limit in ((wanted, max(wanted, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        except (ValueError, OSError):
            continue
        return limit[0]
    return soft


def descriptor_warning(users: int, workers: int, limit: int) -> str | None:
    """Return a warning if `users` with a connection each exceed the descriptor `limit`."""
    wanted = -(-users // workers) + RESERVED_DESCRIPTORS
    if wanted <= limit:
        return None
    return (
        f"{users} users with a connection each on {counted(workers, 'worker')} need {wanted} "
        f"descriptors per worker, but the limit is {limit}: raise it (ulimit -Hn {wanted}), or "
        "use more workers or fewer users"
    )


def resident_bytes() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


class HealthMonitor:
    """Measures this process; `take(second, pickup)` returns the health of the last second.

    The timer lag is how late a timer wakes up, measured ten times a second. A step of the wall
    clock shows as a change of its difference from the monotonic clock.
    """

    def __init__(self, node: str, worker: int) -> None:
        self._node = node
        self._worker = worker
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._late_ns = 0
        self._cpu_ns = clock.cpu_ns()
        self._taken_ns = clock.monotonic_ns()
        self._wall_offset = clock.wall_minus_monotonic()
        # Kept open, as a scenario may use up all descriptors: then these numbers matter most.
        self._memory = os.open("/proc/self/statm", os.O_RDONLY)
        self._descriptors = os.open("/proc/self/fd", os.O_RDONLY)
        self._listed = self._listed_again_in = 0
        self._timer = gevent.spawn(self._measure_timer)

    def _measure_timer(self) -> None:
        while True:
            due = clock.monotonic_ns() + int(TIMER_S * 1e9)
            gevent.sleep(TIMER_S)
            self._late_ns = max(self._late_ns, clock.monotonic_ns() - due)

    def take(self, second: int, pickup: Histogram) -> Health:
        """Return the health since the last call; `pickup` is the lag of arrived bytes, in µs."""
        now, cpu = clock.monotonic_ns(), clock.cpu_ns()
        wall_offset = clock.wall_minus_monotonic()
        resident = int(os.pread(self._memory, 100, 0).split()[1]) * PAGE
        health = Health(
            node=self._node,
            worker=self._worker,
            second=second,
            pid=os.getpid(),
            cpu=(cpu - self._cpu_ns) / max(SPAN_MIN_NS, now - self._taken_ns),
            timer_lag_us=self._late_ns // 1000,
            pickup_lag_us=round(pickup.max),
            rss=resident,
            descriptors=self._count_descriptors(),
            descriptor_limit=self._limit,
            clock_step_s=wall_offset - self._wall_offset,
        )
        self._late_ns, self._cpu_ns, self._taken_ns = 0, cpu, now
        self._wall_offset = wall_offset
        return health

    def _count_descriptors(self) -> int:
        """Return the number of open descriptors.

        Kernels before 6.2 can only list them, so a large number is counted less often.
        """
        size = os.fstat(self._descriptors).st_size
        if size:
            return size
        if self._listed_again_in > 0:
            self._listed_again_in -= 1
            return self._listed
        try:
            self._listed = len(os.listdir(self._descriptors)) - 1  # noqa: PTH208  # no path at hand
        except OSError:  # no descriptor is left for the listing
            self._listed = self._limit
        self._listed_again_in = self._listed // LISTED_A_SECOND
        return self._listed

    def stop(self) -> None:
        """Stop measuring."""
        self._timer.kill()
        os.close(self._memory)
        os.close(self._descriptors)
