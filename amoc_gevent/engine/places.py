"""Where in a scenario an error happened: its file and line, and the traceback from there on.

The scenario's author sees their own lines first and never the engine's. What belongs to a scenario
is its directory, apart from installed packages and amoc itself.
"""

import sys
import traceback
from pathlib import Path
from types import TracebackType

PACKAGE = Path(__file__).resolve().parent.parent
_INSTALLED = {"site-packages", "dist-packages"}


def shown(path: Path | str) -> str:
    """Return `path` as people name it: relative where it lies below the working directory."""
    resolved = Path(path).resolve()
    try:
        return str(resolved.relative_to(Path.cwd()))
    except ValueError:
        return str(resolved)


def belongs(filename: str, scenario: Path) -> bool:
    """Say whether source file `filename` is part of the scenario at `scenario`."""
    if filename.startswith("<"):
        return False
    file = Path(filename).resolve()
    return (
        file.is_relative_to(scenario.resolve().parent)
        and not file.is_relative_to(PACKAGE)
        and not file.is_relative_to(sys.prefix)
        and not _INSTALLED.intersection(file.parts)
    )


def place_of(error: BaseException, scenario: Path) -> str:
    """Return "file:line" of the deepest frame in the scenario's files, else of the deepest."""
    place = shown(scenario)
    own = False
    step = error.__traceback__
    while step is not None:
        filename = step.tb_frame.f_code.co_filename
        if belongs(filename, scenario):
            own = True
            place = f"{shown(filename)}:{step.tb_lineno}"
        elif not own:
            place = f"{shown(filename)}:{step.tb_lineno}"
        step = step.tb_next
    return place


def trimmed_traceback(error: BaseException, scenario: Path) -> str:
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
    skipped = 0
    while trace is not None:
        if belongs(trace.tb_frame.f_code.co_filename, scenario):
            return skipped
        skipped += 1
        trace = trace.tb_next
    return 0
