"""Timed operations of a client: steps of a login and requests, by the kernel's arrival times."""

from types import TracebackType
from typing import Self

import gevent
from gevent import GreenletExit

from amoc_gevent import clock, metrics
from amoc_gevent.xmpp.errors import SCENARIO_TIMEOUT, XmppError

SENT = "xmpp stanzas sent"
RECEIVED = "xmpp stanzas received"


def kind_of(error: BaseException) -> str:
    """Return what an error that ended an operation is counted as."""
    if isinstance(error, XmppError):
        return error.kind
    if isinstance(error, gevent.Timeout):
        return SCENARIO_TIMEOUT
    return type(error).__name__


def count(name: str, times: int = 1) -> None:
    """Count `times` more of `name`."""
    counters = metrics.recorder.snapshot.counters
    counters[name] = counters.get(name, 0) + times


def arrived(name: str, at_ns: int, received_at: float) -> None:
    """Record, as the operation `name`, what was sent at `at_ns` of the master's clock.

    It took until its bytes came in, at `received_at` (monotonic seconds); 0 where a clock is ahead.
    """
    waited = clock.monotonic() - received_at
    us = (clock.cluster_ns() - at_ns) // 1000 - int(waited * 1e6)
    metrics.finished(name, max(0, us), None)


class Step:
    """Times a block as one operation; what the block `took` by the kernel's stamps is what counts.

    An error is recorded as its kind, with the time that passed, and goes on.
    """

    __slots__ = ("_began", "_us", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._us = -1

    def took(self, us: int) -> None:
        """Add the time (µs) from a request to the arrival of its answer."""
        self._us = max(0, self._us) + us

    def __enter__(self) -> Self:
        self._began = clock.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is GreenletExit:  # a forced stop; that of the watchdog is a subclass, and an error
            metrics.recorder.interrupted(self.name)
            return
        passed = int((clock.monotonic() - self._began) * 1e6)
        us = passed if error is not None or self._us < 0 else self._us
        metrics.finished(self.name, us, None if error is None else kind_of(error))
