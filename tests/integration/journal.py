"""What users did by their own account: each notes it in a file, which no crash can take back."""

from pathlib import Path
from typing import NamedTuple

PRELUDE = '''
import os

import gevent

from amoc_gevent import metrics, settings, user

path = settings.declare("journal", "", "the file that users write to")


def note(what):
    """Append a line at once: other processes write too, and this one may be killed."""
    line = f"{user.id} {os.getpid()} {what}\\n".encode()
    journal = os.open(path.value, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, line)
    os.close(journal)
'''
"""The beginning of a scenario that keeps a journal by calling `note(word)`."""


class Line(NamedTuple):
    """One thing that a user did, in one worker process."""

    user_id: int
    pid: int
    what: str


class Journal:
    """The file of one run."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal"
        self.path.touch()

    @property
    def setting(self) -> str:
        """What `--set` takes."""
        return f"journal={self.path}"

    def lines(self, what: str | None = None) -> list[Line]:
        """Return the whole lines so far, those of one word only where it is given."""
        found = []
        for text in self.path.read_text().splitlines(keepends=True):
            user_id, pid, word = text.split()
            if what in {None, word} and text.endswith("\n"):
                found.append(Line(int(user_id), int(pid), word))
        return found

    def ids(self, what: str | None = None) -> list[int]:
        """Return who wrote, in the order of the lines."""
        return [line.user_id for line in self.lines(what)]
