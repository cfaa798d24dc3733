"""Where in a scenario an error happened: its file and line, and the traceback from there on.

The scenario's author sees their own lines first and never the engine's. What belongs to a scenario
is its directory, apart from installed packages and amoc itself.
"""

import os
import sys
import traceback
from functools import lru_cache
from pathlib import Path
from types import TracebackType

PACKAGE = Path(__file__).resolve().parent.parent
_INSTALLED = {"site-packages", "dist-packages"}


def resolved(path: Path | str) -> Path:
    """Return `path` as an absolute one without links.

    Links in a circle and what may not be read stay as they are, where Path.resolve would raise.
    """
    return Path(os.path.realpath(path))


def shown(path: Path | str) -> str:
    """Return `path` as people name it: relative where it lies below the working directory."""
    try:
        return _shown(str(path), Path.cwd())
    except (OSError, ValueError):  # the working directory was removed, or `path` can be none
        return str(path)


@lru_cache(4096)
def _shown(path: str, directory: Path) -> str:
    found = resolved(path)
    return str(found.relative_to(directory) if found.is_relative_to(directory) else found)


@lru_cache(4096)
def belongs(filename: str, scenario: Path) -> bool:
    """Say whether source file `filename` is part of the scenario at `scenario`."""
    if filename.startswith("<"):
        return False
    file, directory = resolved(filename), resolved(scenario).parent
    return (
        file.is_relative_to(directory)
        and not file.is_relative_to(PACKAGE)
        and (directory.is_relative_to(sys.prefix) or not file.is_relative_to(sys.prefix))
        and not _INSTALLED.intersection(file.relative_to(directory).parts)
    )


def place_of(error: BaseException, scenario: Path) -> str:
    """Return "file:line" of the deepest frame in the scenario's files, else of the deepest."""
    own = deepest = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        deepest = (frame.f_code.co_filename, line)
        if belongs(deepest[0], scenario):
            own = deepest
    found = own or deepest
    return f"{shown(found[0])}:{found[1]}" if found else shown(scenario)


def traceback_from(error: BaseException, scenario: Path) -> str:
    """Return the error's traceback from the scenario's first frame on, its causes included."""
    whole = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = whole
    cause: BaseException | None = error
    while part is not None and cause is not None:
        skip = _frames_before(cause.__traceback__, scenario)
        part.stack = traceback.StackSummary.from_list(part.stack[skip:])
        cause = cause.__cause__ or cause.__context__
        part = part.__cause__ or part.__context__
    return "".join(whole.format()).rstrip("\n")


def _frames_before(trace: TracebackType | None, scenario: Path) -> int:
    """Return how many frames come before the scenario's first one, 0 where it has none."""
    for skipped, (frame, _) in enumerate(traceback.walk_tb(trace)):
        if belongs(frame.f_code.co_filename, scenario):
            return skipped
    return 0
