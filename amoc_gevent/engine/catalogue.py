"""Which scenarios there are: names, paths and the first line of each docstring, importing none."""

import ast
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from amoc_gevent.engine.places import PACKAGE, shown
from amoc_gevent.errors import UsageError

DIRECTORY = "scenarios"


class Listed(NamedTuple):
    """One scenario as a list shows it; `summary` of a broken file starts with "error: "."""

    name: str
    path: Path
    summary: str


def scenario_directories() -> list[Path]:
    """Return where names are looked up: `scenarios/` here, then the one beside the package."""
    places = (Path.cwd() / DIRECTORY, PACKAGE.parent / DIRECTORY)
    return [place for place in dict.fromkeys(places) if place.is_dir()]


def name_of(path: Path) -> str:
    """Return the name of the scenario whose module is at `path`."""
    return path.parent.name if path.name == "__init__.py" else path.stem


def find(name_or_path: str, directories: Sequence[Path] | None = None) -> Path:
    """Return the module of the scenario so named: `x.py` or `x/__init__.py`.

    A bare name is looked up in `directories` (by default `scenarios/` of the working directory,
    then beside the package), then taken as a path like everything with a slash or `.py`.
    Raises UsageError that names what there is.
    """
    places = scenario_directories() if directories is None else list(directories)
    if "/" not in name_or_path and not name_or_path.endswith(".py"):
        for place in places:
            module = _module_at(place / name_or_path)
            if module is not None:
                return module
    module = _module_at(Path(name_or_path).expanduser())
    if module is None and Path(name_or_path).expanduser().is_file():
        raise UsageError(f"{name_or_path} is no Python file: a scenario is x.py or x/__init__.py")
    if module is None:
        raise UsageError(_nothing(name_or_path, places))
    return module


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


def declared(path: Path) -> dict[str, bool]:
    """Return the settings that the module at `path` declares itself: name, and may it be changed.

    It is read, not run: names that are no plain text, and those of other modules, are not in it.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (OSError, SyntaxError, ValueError):
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
        if candidate.suffix == ".py" and candidate.is_file():
            return candidate
    return None


def _modules(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        module = path / "__init__.py" if path.is_dir() else path
        if module.suffix == ".py" and path.name[0] not in "._" and module.is_file():
            yield module


def _summary(path: Path) -> str | None:
    """Return the first line of the module's docstring; None where it defines no `start`."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        return f"error: line {error.lineno}: {error.msg}"
    except (OSError, ValueError) as error:
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


def _nothing(name: str, places: Sequence[Path]) -> str:
    known = [listed.name for listed in listing(places)]
    where = " or ".join(shown(place) for place in places)
    if "/" in name or name.endswith(".py"):
        problem = f"there is no scenario at {name}"
    elif where:
        problem = f"there is no scenario {name} in {where}"
    else:
        problem = f"there is no scenario {name}, and no directory {DIRECTORY} here: give a path"
    close = get_close_matches(Path(name).stem, known, 1)
    hint = f", did you mean {close[0]}? There are" if close else "; there are"
    return problem + (f"{hint}: {', '.join(known)}" if known else "")
