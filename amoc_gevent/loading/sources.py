"""Packs a scenario's source files for the nodes, and caches them there by SHA-256."""

import ast
import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from amoc_gevent.core import codec
from amoc_gevent.core.messages import MessageError
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.loading.places import resolved, shown
from amoc_gevent.loading.requirements import FILE

log = logging.getLogger(__name__)

TOTAL_MAX = 16 << 20
MAIN_MAX = 1 << 16
"""Allowance for the file `.main`, in bytes. No path is longer."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a scenario by relative path. `main` is the path of its module."""

    main: str
    files: dict[str, bytes]


def pack(scenario: Path) -> tuple[str, bytes]:
    """Return the SHA-256 and the encoded bytes of a scenario and its local imports.

    Raises UsageError if they are too large or cannot be read.
    """
    scenario = resolved(scenario)
    root = _root_of(scenario)
    paths: set[Path] = set()
    try:
        _gather(scenario.parent if scenario.name == "__init__.py" else scenario, root, paths)
        if (root / FILE).is_file():
            paths.add(root / FILE)
        _check_size(paths)
        files = {str(p.relative_to(root)): p.read_bytes() for p in sorted(paths)}
    except OSError as error:
        raise UsageError(f"{shown(scenario)} cannot be read: {error.strerror}") from error
    except _TooLargeError as error:
        raise UsageError(
            f"{shown(scenario)} and what it imports are {error.size:,} bytes or more; "
            f"{TOTAL_MAX:,} at most can be sent to nodes: keep data elsewhere"
        ) from error
    data = codec.encode(Sources(str(scenario.relative_to(root)), files))
    return hashlib.sha256(data).hexdigest(), data


def _root_of(scenario: Path) -> Path:
    """Return the directory that the names of a scenario's files are relative to."""
    return scenario.parent.parent if scenario.name == "__init__.py" else scenario.parent


class _TooLargeError(AmocError):
    """The files are too large to send: `size` bytes in total."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size:,} bytes")
        self.size = size


def _check_size(paths: set[Path]) -> None:
    """Raise _TooLargeError before a large file, perhaps a sparse one, is read."""
    size = sum(path.stat().st_size for path in paths)
    if size > TOTAL_MAX:
        raise _TooLargeError(size)


def _gather(at: Path, root: Path, found: set[Path]) -> None:
    """Add the module or package `at` and, recursively, its imports from `root`."""
    new = {at} if at.is_file() else {*_files_below(at)}
    new -= found
    found |= new
    _check_size(found)
    for path in new:
        if path.suffix == ".py":
            for name in _imported(path):
                for beside in (root / f"{name}.py", root / name):
                    if beside.is_file() or (beside / "__init__.py").is_file():
                        _gather(beside, root, found)


def _files_below(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from _files_below(path)
        elif path.is_file():
            yield path


def _imported(path: Path) -> set[str]:
    """Return the top-level names of all modules imported anywhere in a file."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()  # loading it reports the error
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


Stamps = dict[Path, tuple[int, int, int]]


def _stamps(paths: Iterable[Path]) -> Stamps:
    """Return inode, size and time of change of each file; 0 of a file that is missing."""
    found = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            found[path] = 0, 0, 0
        else:
            found[path] = status.st_ino, status.st_size, status.st_ctime_ns
    return found


@dataclass(frozen=True, slots=True)
class _Original:
    """A scenario where the master found it: its module, its packed files, and their stamps."""

    path: Path
    data: bytes
    stamps: Stamps


class SourceCache:
    """The sources cached by a node under `directory`, each in a folder named by its SHA-256."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._copies: dict[str, Path] = {}
        self._originals: dict[str, _Original] = {}

    def find(self, scenario: str, sha: str) -> Path | None:
        """Return the path of the scenario's module: the original while unchanged, else a copy.

        An original that is edited during a run is copied as it was, so that a worker that is
        started again runs the same sources.
        """
        if not sha:
            return Path(scenario)
        if copy := self._copies.get(sha):
            return copy
        original = self._originals.get(sha) or self._read_original(Path(scenario), sha)
        if original is not None and original.stamps != _stamps(original.stamps):
            try:
                self.put(sha, original.data)
            except OSError as error:
                log.error("%s was edited, and cannot be copied as it was: %s", scenario, error)
            else:
                return self._copies[sha]
        if original is not None:
            return original.path
        if found := self._copy(sha):
            self._copies[sha] = found
        return found

    def _read_original(self, scenario: Path, sha: str) -> "_Original | None":
        with suppress(AmocError, OSError):
            if scenario.is_file():
                root = _root_of(resolved(scenario))
                found, data = pack(scenario)
                if found == sha:
                    paths = (root / name for name in codec.decode(Sources, data).files)
                    self._originals[sha] = original = _Original(scenario, data, _stamps(paths))
                    return original
        return None

    def _copy(self, sha: str) -> Path | None:
        """Return the module's path in our copy; None if the copy is missing or does not match."""
        place = self._directory / sha
        try:
            if not (_is_ours(self._directory) and _is_ours(place)):
                return None
            # Python trusts compiled modules, whoever wrote them.
            for made in place.rglob("__pycache__"):
                shutil.rmtree(made)
            main = (place / ".main").read_text()
            paths = sorted(path for path in place.rglob("*") if not path.is_dir())
            if sum(path.lstat().st_size for path in paths) > TOTAL_MAX + MAIN_MAX:
                return None
            files = {
                str(path.relative_to(place)): path.read_bytes()
                for path in paths
                if path != place / ".main"
            }
            data = codec.encode(Sources(main, files))
        except (OSError, ValueError):
            return None
        return place / main if hashlib.sha256(data).hexdigest() == sha else None

    def put(self, sha: str, data: bytes) -> None:
        """Write the sources received from the master.

        Raises MessageError if they do not match `sha`, OSError if they cannot be written.
        """
        if hashlib.sha256(data).hexdigest() != sha:
            raise MessageError(f"sources do not match SHA-256 {sha}")
        try:
            sources = codec.decode(Sources, data)
        except ValueError as error:
            raise MessageError(str(error)) from error
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=self._directory, prefix="."))
        try:
            for name, content in sources.files.items():
                path = made / _safe(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            (made / ".main").write_text(str(_safe(sources.main)))
            try:
                made.rename(self._directory / sha)
            except OSError:
                if self._copy(sha) is None:  # otherwise another node of this home was faster
                    log.warning("%s did not match its SHA-256: replaced", self._directory / sha)
                    shutil.rmtree(self._directory / sha, ignore_errors=True)
                    made.rename(self._directory / sha)
            self._copies[sha] = self._directory / sha / _safe(sources.main)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _is_ours(directory: Path) -> bool:
    """Return whether this is a directory, not a link, that only this user owns and can write."""
    found = directory.lstat()
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not writable


def _safe(name: str) -> PurePosixPath:
    """Return the path of a source file. Raises MessageError if it leaves its directory."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise MessageError(f"sources contain the unsafe path {name!r}")
    return path
