"""Users that sleep in their first round, or rest at once; the first and the last take a note.

Our side of the benchmark `users`.
"""

from amoc_gevent import settings, user
from benchmarks.notes import Notes

HOUR = 3600

users = settings.declare("users", 1, "how many users there are")
notes = settings.declare("notes", "notes.json", "file for the notes")
sleep = settings.declare("sleep", True, "whether a user sleeps in its round")


class Crowd:
    """How many users of this worker have run their first line."""

    def __init__(self) -> None:
        self.notes = Notes(notes.value)
        self.started = 0
        self.notes.take("before")


def init() -> Crowd:
    """Note how the worker stands before any user."""
    return Crowd()


def start(user_id: int, crowd: Crowd) -> None:
    """Be counted, then sleep or rest."""
    crowd.started += 1
    if crowd.started == 1:
        crowd.notes.take("first")
    if crowd.started == users.value:
        crowd.notes.take("last")
    if sleep.value:
        user.sleep(HOUR)
