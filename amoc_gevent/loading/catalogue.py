"""Finds and lists scenarios by name, path and docstring without importing any of them."""

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
"""Errors of reading and parsing a Python file; the last two come from code nested too deeply."""


class Listed(NamedTuple):
    """One scenario of a list. The `summary` of a broken file starts with "error: "."""

    name: str
    path: Path
    summary: str


def scenario_directories() -> list[Path]:
    """Return the directories to search: `scenarios/` here, then the one beside the package.

    Unreadable directories are left out; see `unreadable_directories`. Raises AmocError if the
    working directory is gone.
    """
    return [
        directory
        for directory in _search_path()
        if _has_type(directory, stat.S_ISDIR) and not _read_error(directory)
    ]


def unreadable_directories() -> list[str]:
    """Return one line per unreadable scenario directory, with the reason."""
    errors = ((directory, _read_error(directory)) for directory in _search_path())
    return [f"{shown(directory)} cannot be read: {error}" for directory, error in errors if error]


def _search_path() -> list[Path]:
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise AmocError("the working directory is gone: change to one that exists") from None
    return list(dict.fromkeys((here / DIRECTORY, PACKAGE.parent / DIRECTORY)))


def _read_error(directory: Path) -> str:
    """Return why `directory` cannot be read; "" if it can be read or does not exist."""
    try:
        if _mode(directory):
            os.scandir(directory).close()
            (directory / "..").stat()  # needs search permission; listing does not
    except OSError as error:
        return "" if isinstance(error, NotADirectoryError) else str(error.strerror)
    return ""


def _mode(path: Path) -> int:
    """Return the mode of the file at `path`, 0 if none exists. Raises OSError if unknown."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _has_type(path: Path, is_type: Callable[[int], bool]) -> bool:
    """Return whether a file of this type exists. Path.is_file raises if that is unknown."""
    try:
        return is_type(_mode(path))
    except (OSError, ValueError):
        return False


def name_of(path: Path) -> str:
    """Return the name of the scenario with its module at `path`."""
    return path.parent.name if path.name == "__init__.py" else path.stem


def find(name_or_path: str, directories: Sequence[Path] | None = None) -> Path:
    """Return the path of a scenario's module, `x.py` or `x/__init__.py`.

    A bare name is looked up in `directories` (by default `scenarios/` of the working directory,
    then beside the package), and then taken as a path. A text with a slash or `.py` is a path.
    Raises UsageError with the known scenarios, or the reason why one cannot be read. Raises
    AmocError for a bare name if the working directory is gone.
    """
    named = "/" not in name_or_path and not name_or_path.endswith(".py")
    searched: Sequence[Path] = ()
    if named:
        searched = _search_path() if directories is None else directories
    path = _expanded(name_or_path)
    problem = ""
    for candidate in (*(directory / name_or_path for directory in searched), path):
        try:
            module = _module_at(candidate)
        except (OSError, ValueError) as error:
            if not (named and _is_skippable(candidate.parent, error)):
                failed = shown(_failed_path(error, candidate))
                problem = problem or f"{failed} cannot be read: {_reason(error)}"
            continue
        if module is not None:
            return module
    if problem:
        raise UsageError(problem)
    if _has_type(path, stat.S_ISREG):
        raise UsageError(
            f"{name_or_path} is not a Python file: a scenario is x.py or x/__init__.py"
        )
    raise UsageError(_not_found(name_or_path, directories))


def _expanded(path: str) -> Path:
    """Return `path` with `~` expanded; unchanged if there is no such home directory."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError):
        return Path(path)


def _is_skippable(directory: Path, error: OSError | ValueError) -> bool:
    """Return whether `directory` is unreadable as a whole, or the name is too long for a file."""
    too_long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
    return too_long or bool(_read_error(directory))


def _failed_path(error: OSError | ValueError, path: Path) -> Path | str:
    return error.filename if isinstance(error, OSError) and error.filename else path


def _reason(error: OSError | ValueError) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)


def listing(directories: Sequence[Path] | None = None) -> list[Listed]:
    """Return the scenarios in `directories`, sorted by name. The first of two equal names wins.

    `find` takes the same one. A module without `start` is a helper and is not listed. A file that
    cannot be read or parsed is listed with its error.
    """
    found: dict[str, Listed] = {}
    for directory in scenario_directories() if directories is None else directories:
        for path in _modules(directory):
            summary = _summary(path)
            if summary is not None:
                found.setdefault(name_of(path), Listed(name_of(path), path, summary))
    return [found[name] for name in sorted(found)]


def guessed_settings(path: Path) -> dict[str, bool]:
    """Return the module's settings by name, and whether a run can change them, as far as visible.

    This is for completion only. It parses the file and does not import it: an import can take
    seconds, print, open connections, and leave its modules in the prompt's process. So it misses
    computed names and the settings of other modules. The manifest has them all.
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
        module = path / "__init__.py" if _has_type(path, stat.S_ISDIR) else path
        if module.suffix == ".py" and path.name[0] not in "._" and _may_exist(module):
            yield module


def _may_exist(module: Path) -> bool:
    """Return whether the file exists or cannot be examined; the latter is listed, too."""
    try:
        return stat.S_ISREG(_mode(module))
    except OSError:
        return True


def _summary(path: Path) -> str | None:
    """Return the first line of the module's docstring; None if it defines no `start`."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        return f"error: line {error.lineno}: {error.msg}"
    except OSError as error:
        return f"error: {error.strerror}"
    except UNREADABLE as error:
        return f"error: {error}"
    if not any("start" in _bound_names(statement) for statement in tree.body):
        return None
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _bound_names(statement: ast.stmt) -> set[str]:
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


def _not_found(name: str, directories: Sequence[Path] | None) -> str:
    """Return the message for a scenario that does not exist, with similar and known names."""
    unreadable = list[str]()
    if directories is None:
        try:
            directories, unreadable = scenario_directories(), unreadable_directories()
        except AmocError:  # only for a path, which needs no names
            directories = ()
    known = [listed.name for listed in listing(directories)]
    where = " or ".join(shown(directory) for directory in directories)
    if "/" in name or name.endswith(".py"):
        problem, unreadable = f"there is no scenario at {name}", []
    elif where:
        problem = f"there is no scenario {name} in {where}"
    else:
        problem = f"there is no scenario {name}, and no directory {DIRECTORY} here: give a path"
    problem = ", and ".join([problem, *unreadable])
    return problem + there_are(Path(name).stem, known)
