"""Locust's side of the benchmark `users`: users that sleep in a task; first and last take a note.

USERS and NOTES in the environment say how many there are, and the file for the notes.
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
    """Note how the process stands before any user."""
    notes.take("before")


class Sleeper(User):
    """One user."""

    wait_time = constant(0)
    started = 0

    @task
    def sleep(self) -> None:
        """Be counted, then sleep."""
        Sleeper.started += 1
        if Sleeper.started == 1:
            notes.take("first")
        if Sleeper.started == USERS:
            notes.take("last")
        gevent.sleep(HOUR)
