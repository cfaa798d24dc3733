"""When a worker collects cyclic garbage: little and often, and everything only as memory grows.

A collection stops all users for as long as it takes, and Python's own thresholds are made for
programs with few objects that live long. Of 100,000 users each has dozens, and every look at all of
them takes half a second.
"""

import gc

THRESHOLDS = (1000, 2, 1_000_000)
"""Young objects are looked at every few ms; all of them never, but for `Collector`."""

GROWTH = 1.5
SLACK = 64 << 20
EACH_USER = 32 << 10
"""Bytes that a running user is granted: more than a greenlet, a session and a connection take."""


class Collector:
    """Sees from the memory of the process when garbage must have grown old.

    What exists when it is made (the loaded modules) is not looked at again.
    """

    def __init__(self, resident: int) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        self._resident = resident
        self._users = self._peak = 0

    def check(self, resident: int, users: int) -> bool:
        """Collect where `resident` bytes are too many for so many running users.

        What users took stays with the process when they go. Return whether all was collected.
        """
        self._peak = max(self._peak, users)
        granted = EACH_USER * (self._peak - self._users)
        if resident <= GROWTH * self._resident + SLACK + granted:
            return False
        gc.collect()
        self._resident, self._users = resident, self._peak
        return True
