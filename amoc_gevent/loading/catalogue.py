"""Which scenarios there are: names, paths and the first line of each docstring, importing none."""

import ast
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from amoc_gevent.core.suggestions import there_are
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.loading.places import PACKAGE, shown

DIRECTORY = "scenarios"

UNREADABLE = (OSError, SyntaxError, ValueError, RecursionError, MemoryError)
"""What reading a file as Python may raise; the last two come of code that is nested too deeply."""


class Listed(NamedTuple):
    """One scenario as a list shows it; `summary` of a broken file starts with "error: "."""

    name: str
    path: Path
    summary: str


def scenario_directories() -> list[Path]:
    """Return where names are looked up: `scenarios/` here, then the one beside the package.

    A directory that may not be read is left out: see `barred`. Raises AmocError where the working
    directory is gone.
    """
    return [place for place in _places() if _is(place, stat.S_ISDIR) and not _bar(place)]


def barred() -> list[str]:
    """Return a line for each directory of scenarios that may not be read, with the reason."""
    bars = ((place, _bar(place)) for place in _places())
    return [f"{shown(place)} cannot be read: {why}" for place, why in bars if why]


def _places() -> list[Path]:
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise AmocError("the working directory is gone: change to one that exists") from None
    return list(dict.fromkeys((here / DIRECTORY, PACKAGE.parent / DIRECTORY)))


def _bar(place: Path) -> str:
    """Return what keeps a directory that may be there from being read, "" where nothing does."""
    try:
        if _mode(place):
            os.scandir(place).close()
            (place / "..").stat()  # takes the right to search it, which listing it does not
    except OSError as error:
        return "" if isinstance(error, NotADirectoryError) else str(error.strerror)
    return ""


def _mode(path: Path) -> int:
    """Return the mode of the file at `path`, 0 where there is none; OSError where none can tell."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    """Say whether there is such a file; Path.is_file and its like raise where none can tell."""
    try:
        return kind(_mode(path))
    except (OSError, ValueError):
        return False


def name_of(path: Path) -> str:
    """Return the name of the scenario whose module is at `path`."""
    return path.parent.name if path.name == "__init__.py" else path.stem


def find(name_or_path: str, directories: Sequence[Path] | None = None) -> Path:
    """Return the module of the scenario so named: `x.py` or `x/__init__.py`.

    A bare name is looked up in `directories` (by default `scenarios/` of the working directory,
    then beside the package), then taken as a path like everything with a slash or `.py`.
    Raises UsageError that names what there is, or why it cannot be looked at; AmocError for a name
    where the working directory is gone.
    """
    named = "/" not in name_or_path and not name_or_path.endswith(".py")
    places: Sequence[Path] = ()
    if named:
        places = _places() if directories is None else directories
    path = _expanded(name_or_path)
    bar = ""
    for candidate in (*(place / name_or_path for place in places), path):
        try:
            module = _module_at(candidate)
        except (OSError, ValueError) as error:
            if not (named and _cannot_be_in(candidate.parent, error)):
                bar = bar or f"{shown(_which(error, candidate))} cannot be read: {_why(error)}"
            continue
        if module is not None:
            return module
    if bar:
        raise UsageError(bar)
    if _is(path, stat.S_ISREG):
        raise UsageError(f"{name_or_path} is no Python file: a scenario is x.py or x/__init__.py")
    raise UsageError(_nothing(name_or_path, directories))


def _expanded(path: str) -> Path:
    """Return `path` with `~` as the home directory; unchanged where there is no such home."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError):
        return Path(path)


def _cannot_be_in(place: Path, error: OSError | ValueError) -> bool:
    """Say whether `error` is about all names in `place`, or about a name that no file can have."""
    too_long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
    return too_long or bool(_bar(place))


def _which(error: OSError | ValueError, path: Path) -> Path | str:
    return error.filename if isinstance(error, OSError) and error.filename else path


def _why(error: OSError | ValueError) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)


def listing(directories: Sequence[Path] | None = None) -> list[Listed]:
    """Return the scenarios of `directories`, by name; of two with one name `find` takes the first.

    A module without `start` helps others and is none. A file that cannot be read or parsed is
    listed with its error.
    """
    found: dict[str, Listed] = {}
    for place in scenario_directories() if directories is None else directories:
        for path in _modules(place):
            summary = _summary(path)
            if summary is not None:
                found.setdefault(name_of(path), Listed(name_of(path), path, summary))
    return [found[name] for name in sorted(found)]


def guessed_settings(path: Path) -> dict[str, bool]:
    """Guess the settings of the module at `path`, by name, with whether a run can change them.

    This is for completion only. It parses the file and does not import it: an import can take
    seconds, prints, opens connections, and leaves its modules in the process of the prompt. So it
    misses the settings of other modules and names that are computed. The manifest has them all.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except UNREADABLE:
        return {}
    found: dict[str, bool] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="declare") | ast.Name(id="declare"),
                args=[ast.Constant(value=str(name)), *_],
                keywords=keywords,
            ):
                update = [keyword.value for keyword in keywords if keyword.arg == "update"]
                found[name] = any(not _is_false(value) for value in update)
    return found


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _module_at(path: Path) -> Path | None:
    for candidate in (path, path / "__init__.py", path.parent / f"{path.name}.py"):
        if candidate.suffix == ".py" and stat.S_ISREG(_mode(candidate)):
            return candidate
    return None


def _modules(directory: Path) -> Iterator[Path]:
    try:
        paths = sorted(directory.iterdir())
    except OSError:
        return
    for path in paths:
        module = path / "__init__.py" if _is(path, stat.S_ISDIR) else path
        if module.suffix == ".py" and path.name[0] not in "._" and _is_there(module):
            yield module


def _is_there(module: Path) -> bool:
    """Say whether there is such a file, or one of which nobody may tell: it is listed, too."""
    try:
        return stat.S_ISREG(_mode(module))
    except OSError:
        return True


def _summary(path: Path) -> str | None:
    """Return the first line of the module's docstring; None where it defines no `start`."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        return f"error: line {error.lineno}: {error.msg}"
    except OSError as error:
        return f"error: {error.strerror}"
    except UNREADABLE as error:
        return f"error: {error}"
    if not any("start" in _bound(statement) for statement in tree.body):
        return None
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a top-level statement binds."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name for alias in names}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case _:
            return set()


def _nothing(name: str, directories: Sequence[Path] | None) -> str:
    places, bars = directories, list[str]()
    if places is None:
        try:
            places, bars = scenario_directories(), barred()
        except AmocError:  # a path was given, and no names are needed
            places = ()
    known = [listed.name for listed in listing(places)]
    where = " or ".join(shown(place) for place in places)
    if "/" in name or name.endswith(".py"):
        problem, bars = f"there is no scenario at {name}", []
    elif where:
        problem = f"there is no scenario {name} in {where}"
    else:
        problem = f"there is no scenario {name}, and no directory {DIRECTORY} here: give a path"
    problem = ", and ".join([problem, *bars])
    return problem + there_are(Path(name).stem, known)
