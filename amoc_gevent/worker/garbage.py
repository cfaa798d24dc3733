"""Decides when a worker collects cyclic garbage: young objects often, all only as memory grows.

A collection stops all users while it lasts. Python's default thresholds suit programs with few
long-lived objects. Each of 100,000 users has dozens, and a full collection takes half a second.
"""

import gc

THRESHOLDS = (1000, 2, 1_000_000)
"""Young objects are collected every few ms, old ones only by `GarbageCollector`."""

GROWTH = 1.5
SLACK = 64 << 20
EACH_USER = 32 << 10
"""Bytes allowed for each running user: more than a greenlet, a session and a connection take."""


class GarbageCollector:
    """Collects all garbage when the memory of the process has grown too much.

    Objects that exist at construction, such as the loaded modules, are never examined again.
    `resident` is the memory of the process in bytes.
    """

    def __init__(self, resident: int) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        self._resident = resident
        self._users = self._peak = 0

    def check(self, resident: int, users: int) -> bool:
        """Collect all garbage if `resident` bytes are too many for `users` running users.

        The peak of users counts, as the process keeps their memory when they end. Return whether a
        collection took place.
        """
        self._peak = max(self._peak, users)
        granted = EACH_USER * (self._peak - self._users)
        if resident <= GROWTH * self._resident + SLACK + granted:
            return False
        gc.collect()
        self._resident, self._users = resident, self._peak
        return True
