"""The benchmark `users` for Locust: users that sleep in a task. The first and last take a note.

USERS (their number) and NOTES (the file for the notes) are in the environment.
"""

import os
from typing import Any

import gevent
from locust import User, constant, events, task

from benchmarks.notes import Notes

HOUR = 3600
USERS = int(os.environ["USERS"])

notes = Notes(os.environ["NOTES"])


@events.test_start.add_listener
def before(**_: Any) -> None:
    """Take a note before the first user."""
    notes.take("before")


class Sleeper(User):
    """One user."""

    wait_time = constant(0)
    started = 0

    @task
    def sleep(self) -> None:
        """Count this user, then sleep."""
        Sleeper.started += 1
        if Sleeper.started == 1:
            notes.take("first")
        if Sleeper.started == USERS:
            notes.take("last")
        gevent.sleep(HOUR)
