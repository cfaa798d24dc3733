"""The memory part of the benchmark `recording` for Locust: the same as scenarios/names.py.

NAMES, EACH, SECONDS and NOTES are in the environment.
"""

import os

import gevent
from locust import User, constant, task

from benchmarks.notes import Notes
from benchmarks.values import values_of

HOUR = 3600
NAMES, EACH, SECONDS = (int(os.environ[name]) for name in ("NAMES", "EACH", "SECONDS"))


class Recorder(User):
    """The one user."""

    wait_time = constant(HOUR)

    @task
    def record(self) -> None:
        """Record all requests."""
        notes = Notes(os.environ["NOTES"])
        notes.take("before")
        pool = values_of(10 * EACH)
        stats = self.environment.stats
        for _ in range(SECONDS):
            for name in range(NAMES):
                at = name % 9 * EACH
                for total_us, _first, _lag in pool[at : at + EACH]:
                    stats.log_request("GET", f"/{name}", total_us / 1000, 35)
            gevent.sleep(1)
        notes.take("after")
