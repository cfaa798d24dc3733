"""How the generator itself fares: its lag, CPU, memory and descriptors, second by second."""

import os
import resource
from pathlib import Path

import gevent

from amoc_gevent import clock
from amoc_gevent.core.histogram import Histogram
from amoc_gevent.core.messages import Health

TIMER_S = 0.1
SPAN_MIN_NS = 500_000_000
"""The shortest stretch over which CPU is judged: the last one of a run may be a millisecond."""

PAGE = resource.getpagesize()
RESERVED_DESCRIPTORS = 64
"""What a worker needs beside its users' sockets."""


def raise_descriptor_limit() -> int:
    """Raise the limit on open files as far as allowed and return it."""
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
    """Return what to say where `users` with a connection each exceed a worker's descriptors."""
    wanted = -(-users // workers) + RESERVED_DESCRIPTORS
    if wanted <= limit:
        return None
    return (
        f"{users} users on {workers} workers want {wanted} descriptors each where every user holds "
        f"a connection, but the limit is {limit}: raise it (ulimit -Hn {wanted}), or take more "
        "workers or fewer users"
    )


def open_descriptors() -> int:
    """Return how many descriptors this process has open."""
    directory = Path("/proc/self/fd")
    return directory.stat().st_size or len(list(directory.iterdir()))  # a size since Linux 6.2


class HealthMonitor:
    """Measures this process; `take(second, pickup)` returns what the last second was like.

    Ten times a second a timer's wake-up is compared with when it was due. A wall clock that is
    stepped shows as a change against the monotonic one.
    """

    def __init__(self, node: str, worker: int) -> None:
        self._node = node
        self._worker = worker
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._late_ns = 0
        self._cpu_ns = clock.cpu_ns()
        self._taken_ns = clock.monotonic_ns()
        self._wall_offset = clock.wall_minus_monotonic()
        self._timer = gevent.spawn(self._measure_timer)

    def _measure_timer(self) -> None:
        while True:
            due = clock.monotonic_ns() + int(TIMER_S * 1e9)
            gevent.sleep(TIMER_S)
            self._late_ns = max(self._late_ns, clock.monotonic_ns() - due)

    def take(self, second: int, pickup: Histogram) -> Health:
        """Return the health since the last call; `pickup` is the lag of arrived bytes in µs."""
        now, cpu = clock.monotonic_ns(), clock.cpu_ns()
        wall_offset = clock.wall_minus_monotonic()
        with Path("/proc/self/statm").open() as statm:
            resident = int(statm.read().split()[1]) * PAGE
        health = Health(
            node=self._node,
            worker=self._worker,
            second=second,
            pid=os.getpid(),
            cpu=(cpu - self._cpu_ns) / max(SPAN_MIN_NS, now - self._taken_ns),
            timer_lag_us=self._late_ns // 1000,
            pickup_lag_us=round(pickup.max),
            rss=resident,
            descriptors=open_descriptors(),
            descriptor_limit=self._limit,
            clock_step_s=wall_offset - self._wall_offset,
        )
        self._late_ns, self._cpu_ns, self._taken_ns = 0, cpu, now
        self._wall_offset = wall_offset
        return health

    def stop(self) -> None:
        """Stop measuring."""
        self._timer.kill()
