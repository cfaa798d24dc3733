"""Locates errors in a scenario: file and line, and a traceback that starts there.

Authors see their own lines first and never the engine's. A scenario consists of the files in its
directory, except for installed packages and amoc itself.
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
    """Return the absolute `path` with links resolved.

    Link loops and unreadable parts stay as they are, while Path.resolve would raise.
    """
    return Path(os.path.realpath(path))


def shown(path: Path | str) -> str:
    """Return `path` for display: relative if it lies below the working directory."""
    try:
        return _shown(str(path), Path.cwd())
    except (OSError, ValueError):  # the working directory is gone, or `path` is not a valid path
        return str(path)


@lru_cache(4096)
def _shown(path: str, directory: Path) -> str:
    found = resolved(path)
    return str(found.relative_to(directory) if found.is_relative_to(directory) else found)


@lru_cache(4096)
def belongs(filename: str, scenario: Path) -> bool:
    """Return whether source file `filename` is part of the scenario at `scenario`."""
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
    """Return "file:line" of the deepest frame in the scenario, else of the deepest frame."""
    own = deepest = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        deepest = (frame.f_code.co_filename, line)
        if belongs(deepest[0], scenario):
            own = deepest
    found = own or deepest
    return f"{shown(found[0])}:{found[1]}" if found else shown(scenario)


def traceback_from(error: BaseException, scenario: Path) -> str:
    """Return the traceback of `error` and its causes, from the scenario's first frame on."""
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
    """Return the number of frames before the scenario's first one; 0 if it has none."""
    for skipped, (frame, _) in enumerate(traceback.walk_tb(trace)):
        if belongs(frame.f_code.co_filename, scenario):
            return skipped
    return 0
