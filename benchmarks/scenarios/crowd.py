"""The benchmark `users` for amoc: users that sleep in their first round, or rest at once.

The first and the last user take a note.
"""

from amoc_gevent import settings, user
from benchmarks.notes import Notes

HOUR = 3600

users = settings.declare("users", 1, "number of users")
notes = settings.declare("notes", "notes.json", "file for the notes")
sleep = settings.declare("sleep", True, "sleep in the round instead of resting")


class Crowd:
    """The number of this worker's users that have run their first line, and the notes."""

    def __init__(self) -> None:
        self.notes = Notes(notes.value)
        self.started = 0
        self.notes.take("before")


def init() -> Crowd:
    """Take a note before the first user."""
    return Crowd()


def start(user_id: int, crowd: Crowd) -> None:
    """Count this user, then sleep or rest."""
    crowd.started += 1
    if crowd.started == 1:
        crowd.notes.take("first")
    if crowd.started == users.value:
        crowd.notes.take("last")
    if sleep.value:
        user.sleep(HOUR)
