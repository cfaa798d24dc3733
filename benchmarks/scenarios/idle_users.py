"""The benchmark `users` for amoc: users that sleep in their first iteration, or rest at once.

The first and the last user take a note.
"""

from amoc_gevent import settings, user
from benchmarks.notes import Notes

HOUR = 3600

users = settings.declare("users", 1, "number of users")
notes = settings.declare("notes", "notes.json", "file for the notes")
sleep = settings.declare("sleep", True, "sleep in the round instead of resting")


class StartedUsers:
    """The number of this worker's users that have run their first line, and the notes."""

    def __init__(self) -> None:
        self.notes = Notes(notes.value)
        self.started = 0
        self.notes.take("before")


def init() -> StartedUsers:
    """Take a note before the first user."""
    return StartedUsers()


def start(user_id: int, started_users: StartedUsers) -> None:
    """Count this user, then sleep or rest."""
    started_users.started += 1
    if started_users.started == 1:
        started_users.notes.take("first")
    if started_users.started == users.value:
        started_users.notes.take("last")
    if sleep.value:
        user.sleep(HOUR)
