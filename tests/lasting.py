"""Faults that last: their length is part of what is tested, not a wait for something."""

from collections.abc import Callable

import gevent
from gevent.monkey import get_original

_sleep: Callable[[float], None] = get_original("time", "sleep")


def lasting(seconds: float) -> None:
    """Let a fault last while the hub runs."""
    gevent.sleep(seconds)


def stand_still(seconds: float) -> None:
    """Stop the whole process, hub included."""
    _sleep(seconds)


def turns(count: int = 20) -> None:
    """Give each greenlet that is ready `count` turns."""
    for _ in range(count):
        gevent.sleep(0)
