"""Imports a scenario's module and checks its callbacks before a run starts.

Each problem is a ScenarioError with a one-line message that starts with the file and line number.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.abc import Loader
from pathlib import Path
from types import ModuleType
from typing import Any

from greenlet import GreenletExit

from amoc_gevent import settings
from amoc_gevent.core.manifest import Manifest, declaration
from amoc_gevent.core.suggestions import did_you_mean
from amoc_gevent.errors import AmocError, ScenarioError, UsageError
from amoc_gevent.loading import requirements
from amoc_gevent.loading.catalogue import Listed, find, listing, name_of
from amoc_gevent.loading.places import belongs, place_of, resolved, shown, traceback_from

__all__ = ["Listed", "Scenario", "find", "listing", "load", "place_of", "trimmed_traceback"]

_PREFIX = "amoc_scenario_"
_CALLBACKS = ("init", "start", "terminate")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A loaded scenario with checked callbacks.

    `start` takes the user's id and, if `has_state`, the value that `init` returned.
    """

    name: str
    path: Path
    docstring: str
    start: Callable[..., object]
    has_state: bool
    module: ModuleType

    def callbacks(self) -> list[str]:
        """Return the signatures of the callbacks, such as "start(user_id, state)"."""
        present = (name for name in _CALLBACKS if hasattr(self.module, name))
        return [f"{name}{_call_form(getattr(self.module, name))}" for name in present]

    def start_with(self, state: Any) -> Callable[[int], object]:
        """Return `start` as a callable of the user's id alone."""
        start = self.start
        return (lambda user_id: start(user_id, state)) if self.has_state else start

    def manifest(self, operations: Iterable[str] = ()) -> Manifest:
        """Return the scenario's declarations and the `operations` seen so far.

        Raises ScenarioError if they are too large to send to a master.
        """
        settings_ = tuple(map(declaration, settings.registry.described()))
        try:
            declared = Manifest(self.name, self.docstring, tuple(self.callbacks()), settings_)
        except ValueError as error:
            problem = f"scenario {self.name} declares too much: {error}"
            raise ScenarioError(f"{shown(self.path)}:1: {problem}") from None
        return declared.with_operations(operations)

    def init(self) -> Any:
        """Run the scenario's `init`, if any, and return the state.

        Raises ScenarioError if it fails.
        """
        callback = getattr(self.module, "init", None)
        return None if callback is None else self._call("init", callback)

    def terminate(self, state: Any) -> None:
        """Run the scenario's `terminate`, if any. Raises ScenarioError if it fails."""
        callback = getattr(self.module, "terminate", None)
        if callback is not None:
            args = (state,) if _accepts(callback, 1) else ()
            self._call("terminate", callback, *args)

    def _call(self, name: str, callback: Callable[..., Any], *args: Any) -> Any:
        try:
            return callback(*args)
        except (KeyboardInterrupt, GreenletExit):
            raise
        except BaseException as error:  # noqa: BLE001  # the boundary around a callback
            raise _failure(error, self.path, f"{name} raised ") from None


class _Imports:
    """The entries that the last loaded scenario added to `sys.modules` and `sys.path`."""

    def __init__(self) -> None:
        self._modules: list[str] = []
        self._directory: str | None = None

    def forget(self) -> None:
        """Remove them, so that the next load imports the scenario's siblings again."""
        for name in self._modules:
            sys.modules.pop(name, None)
        self._modules = []
        if self._directory in sys.path:
            sys.path.remove(self._directory)
        self._directory = None

    def run(self, loader: Loader, module: ModuleType, path: Path) -> None:
        """Execute the module, with its directory last on `sys.path` so that it shadows nothing."""
        before = set(sys.modules)
        directory = path.parent.parent if path.name == "__init__.py" else path.parent
        if str(directory) not in sys.path:
            self._directory = str(directory)
            sys.path.append(self._directory)
        sys.modules[module.__name__] = module
        try:
            loader.exec_module(module)
        finally:
            self._modules = [
                name
                for name, imported in list(sys.modules.items())
                if name not in before and belongs(getattr(imported, "__file__", None) or "<", path)
            ]


_imports = _Imports()


def load(path: Path) -> Scenario:
    """Import the scenario at `path`, as returned by `find`, and check its callbacks.

    Resets the settings registry first. Raises ScenarioError for any problem in the scenario,
    UsageError if its file cannot be read.
    """
    path = resolved(path)
    settings.registry.reset()
    _imports.forget()
    module = _imported(path)
    for name in _CALLBACKS:
        _check(module, name, path)
    return Scenario(
        name=name_of(path),
        path=path,
        docstring=inspect.getdoc(module) or "",
        start=module.start,
        has_state=_accepts(module.start, 2),
        module=module,
    )


def trimmed_traceback(error: BaseException, scenario: Scenario) -> str:
    """Return the traceback of an error in the scenario, without the engine's frames."""
    return traceback_from(error, scenario.path)


def _imported(path: Path) -> ModuleType:
    package = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(
        _PREFIX + name_of(path), path, submodule_search_locations=package
    )
    if spec is None or spec.loader is None:
        raise ScenarioError(f"{shown(path)}: a scenario is a Python file, x.py")
    module = importlib.util.module_from_spec(spec)
    try:
        _imports.run(spec.loader, module, path)
    except (KeyboardInterrupt, GreenletExit):
        raise
    except SyntaxError as error:
        where = f"{shown(error.filename or path)}:{error.lineno or 1}"
        line = f": {error.text.strip()}" if error.text else ""
        raise ScenarioError(f"{where}: {error.msg}{line}") from None
    except ModuleNotFoundError as error:
        if error.name is None or not requirements.is_missing(error.name):
            raise _failure(error, path) from None
        advice = requirements.advice(error.name, path)
        raise ScenarioError(f"{place_of(error, path)}: {advice}") from None
    except BaseException as error:  # noqa: BLE001  # the boundary around the scenario's import
        if isinstance(error, OSError) and error.filename == str(path):
            raise UsageError(f"{shown(path)} cannot be read: {error.strerror}") from None
        raise _failure(error, path) from None
    return module


def _failure(error: BaseException, path: Path, prefix: str = "") -> ScenarioError:
    """Return a ScenarioError with a one-line message and the traceback of `error`."""
    place = place_of(error, path)
    text = (str(error).splitlines() or [""])[0]
    if isinstance(error, AmocError):
        return ScenarioError(f"{place}: {text}")
    if isinstance(error, SystemExit):
        text = f"sys.exit({text})"
    separator = ": " if text else ""
    return ScenarioError(
        f"{place}: {prefix}{type(error).__name__}{separator}{text}", traceback_from(error, path)
    )


def _check(module: ModuleType, name: str, path: Path) -> None:
    """Raise ScenarioError if a callback is missing, misspelt or takes the wrong arguments."""
    callback = getattr(module, name, None)
    if callback is None:
        if name != "start":
            _check_spelling(module, name, path)
            return
        meant = did_you_mean(name, [n for n in vars(module) if n not in _CALLBACKS])
        hint = f" ({meant})" if meant else ""
        raise ScenarioError(f"{shown(path)}:1: a scenario must define {_FORMS[name]}{hint}")
    if not callable(callback):
        raise ScenarioError(f"{shown(path)}:1: {name} must be a function, {_FORMS[name]}")
    if kind := _unsuitable(callback):
        raise ScenarioError(
            f"{_line_of(callback, path)}: {name} is {kind}, which would never run: make it a plain "
            "function; user.sleep and http block only their own user"
        )
    if not any(_accepts(callback, count) for count in _COUNTS[name]):
        raise ScenarioError(f"{_line_of(callback, path)}: {name} must be {_FORMS[name]}")


def _check_spelling(module: ModuleType, name: str, path: Path) -> None:
    """Raise ScenarioError for a function whose name has the letters of `name` in another order."""
    for other, found in vars(module).items():
        if inspect.isfunction(found) and sorted(other.lower()) == sorted(name):
            where = _line_of(found, path)
            raise ScenarioError(f"{where}: {other} is never called, did you mean {name}?")


_FORMS = {
    "init": "init()",
    "start": "start(user_id) or start(user_id, state)",
    "terminate": "terminate() or terminate(state)",
}
_COUNTS = {"init": (0,), "start": (1, 2), "terminate": (0, 1)}


def _unsuitable(callback: Callable[..., Any]) -> str:
    if inspect.iscoroutinefunction(callback):
        return "an async function"
    if inspect.isgeneratorfunction(callback) or inspect.isasyncgenfunction(callback):
        return "a generator"
    return ""


def _accepts(callback: Callable[..., Any], count: int) -> bool:
    """Return whether `callback` can be called with `count` positional arguments."""
    try:
        inspect.signature(callback).bind(*range(count))
    except (TypeError, ValueError):  # ValueError: a built-in without a signature
        return False
    return True


def _call_form(callback: Callable[..., Any]) -> inspect.Signature:
    """Return the callback's signature without annotations."""
    signature = inspect.signature(callback)
    return signature.replace(
        parameters=[
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in signature.parameters.values()
        ],
        return_annotation=inspect.Signature.empty,
    )


def _line_of(callback: Callable[..., Any], path: Path) -> str:
    code = getattr(inspect.unwrap(callback), "__code__", None)
    return f"{shown(code.co_filename)}:{code.co_firstlineno}" if code else f"{shown(path)}:1"
