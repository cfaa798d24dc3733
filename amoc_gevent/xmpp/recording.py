"""Timed operations of a client, such as login steps and requests, by kernel arrival times."""

from types import TracebackType
from typing import Self

from amoc_gevent import clock, metrics
from amoc_gevent.transport.errors import kind_of
from amoc_gevent.user import check_load

SENT = "xmpp stanzas sent"
RECEIVED = "xmpp stanzas received"
GAP_MAX = 1_000_000
"""Longest gap in the sequence numbers of one sender. A number beyond it is not from this run."""


def count(name: str, times: int = 1) -> None:
    """Add `times` to the counter `name`."""
    counters = metrics.recorder.snapshot.counters
    counters[name] = counters.get(name, 0) + times


def arrived(name: str, at_ns: int, received_at: float) -> None:
    """Record an arrival as operation `name`.

    Its latency runs from `at_ns`, the time of sending (ns of the master's clock), to `received_at`,
    the arrival of the bytes (monotonic seconds). It is 0 if the sender's clock is ahead.
    """
    waited = clock.monotonic() - received_at
    us = (clock.cluster_ns() - at_ns) // 1000 - int(waited * 1e6)
    metrics.finished(name, max(0, us), None)


class Step:
    """Times a block as one operation.

    Its latency is the sum of `took` calls, by the kernel's time stamps; without any, the elapsed
    time. An error is recorded by its kind with the elapsed time, and is not suppressed.
    """

    __slots__ = ("_began", "_us", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._us = -1

    def took(self, us: int) -> None:
        """Add the time (µs) from a request to the arrival of its answer."""
        self._us = max(0, self._us) + us

    def __enter__(self) -> Self:
        check_load()
        self._began = clock.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and metrics.is_forced_stop(kind):
            metrics.recorder.interrupted(self.name)
            return
        passed = int((clock.monotonic() - self._began) * 1e6)
        us = passed if error is not None or self._us < 0 else self._us
        metrics.finished(self.name, us, None if error is None else kind_of(error))
