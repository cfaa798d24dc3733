"""The memory part of the benchmark `recording` for amoc: requests under many names.

One user records each second the requests of one second.
"""

from amoc_gevent import settings, user
from amoc_gevent.metrics import recorder
from benchmarks.notes import Notes
from benchmarks.values import values_of

names = settings.declare("names", 1000, "number of operations")
each = settings.declare("each", 100, "requests of each operation per second")
seconds = settings.declare("seconds", 10, "duration in seconds")
notes = settings.declare("notes", "notes.json", "file for the notes")


def init() -> Notes:
    """Take a note before the user starts."""
    made = Notes(notes.value)
    made.take("before")
    return made


def start(user_id: int, made: Notes) -> None:
    """Record all requests. The last second has been sent when the last note is taken."""
    pool = values_of(10 * each.value)
    for _ in range(seconds.value):
        for name in range(names.value):
            at = name % 9 * each.value
            for total_us, first_us, lag_us in pool[at : at + each.value]:
                recorder.operation(f"GET /{name}", total_us, None, first_us)
                recorder.lag(lag_us)
        user.sleep(1)
    made.take("after")
