"""What a scenario can be told from outside: its settings, their values and where those came from.

A scenario declares each setting at its top level and reads it inside its callbacks::

    url = settings.declare("url", "http://127.0.0.1:8080", "the service to load")

    def start(user_id):
        http.Session(url.value)

A value comes from `--set NAME=VALUE`, else from the environment (`AMOC_<NAME>` in capitals), else
it is the default. Values exist once the run is configured, so reading one at import is an error:
a value read there would silently miss `--set`.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeVar, cast, overload

from amoc_gevent.core import units
from amoc_gevent.errors import UsageError

T = TypeVar("T")
Verdict = bool | tuple[bool, Any]
Verify = Collection[Any] | Callable[[Any], Verdict]
Update = bool | Callable[[Any, Any], object]

RESERVED = frozenset(
    {"home", "user_rate", "interarrival", "repeat_interval", "repeat_num", "on_user_error"}
)
"""Names that mean something to a run itself, as options or as AMOC_<NAME>."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_UNSET = object()
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def duration(text: str) -> float:
    """Read a time such as `500ms`, `30s`, `5m` as seconds: `declare(..., type=duration)`."""
    return units.parse_duration(text)


def rate(text: str) -> float:
    """Read a rate such as `20/s`, `1200/min` as so many a second: `declare(..., type=rate)`."""
    return units.parse_rate(text)


@dataclass(frozen=True, slots=True)
class SettingDescription:
    """One setting as `amoc describe` shows it; values are text, `value` is None before a run.

    `allowed` lists the values that `verify` allows, empty where a function decides.
    """

    name: str
    default: str
    unit: str
    type: str
    description: str
    allowed: tuple[str, ...]
    update: bool
    value: str | None
    source: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON takes them."""
        return asdict(self)


class Setting(Generic[T]):
    """One declared setting; `value` is what it is in this run. `declare` makes it."""

    __slots__ = (
        "_value",
        "default",
        "description",
        "name",
        "parse",
        "source",
        "unit",
        "update",
        "verify",
    )

    def __init__(
        self,
        name: str,
        default: T,
        description: str,
        *,
        parse: Callable[[str], T],
        unit: str,
        verify: Verify | None,
        update: Update,
    ) -> None:
        self.name = name
        self.default = default
        self.description = description
        self.parse = parse
        self.unit = unit
        self.verify = verify
        self.update = update
        self.source = ""
        self._value: Any = _UNSET

    @property
    def value(self) -> T:
        """The value in this run. Raises UsageError while the scenario is being imported."""
        if self._value is _UNSET:
            raise UsageError(
                f"setting {self.name} has no value yet: read {self.name}.value inside init or "
                "start, not while the scenario is imported"
            )
        return cast("T", self._value)

    def __repr__(self) -> str:
        value = "no value yet" if self._value is _UNSET else f"{self._value!r} from {self.source}"
        return f"<setting {self.name}: {value}>"

    def parsed(self, text: str, source: str) -> T:
        """Return the value that `text` means, verified; UsageError names `source`."""
        try:
            value = self.parse(text)
        except ValueError as error:
            what = self._expected() or str(error)
            raise UsageError(f"setting {self.name}: {text!r} ({source}): {what}") from None
        return self.verified(value, source)

    def verified(self, value: T, source: str) -> T:
        """Return `value`, or what `verify` puts in its place; UsageError where it refuses."""
        if self.verify is None:
            return value
        if not callable(self.verify):
            if value in self.verify:
                return value
            raise UsageError(
                f"setting {self.name}: {_shown(value)!r} ({source}) is none of "
                + ", ".join(_shown(allowed) for allowed in self.verify)
            )
        verdict = self.verify(value)
        accepted, what = verdict if isinstance(verdict, tuple) else (verdict, None)
        if accepted:
            return cast("T", what) if isinstance(verdict, tuple) else value
        because = what or f"is refused; it is: {self.description}"
        raise UsageError(f"setting {self.name}: {_shown(value)!r} ({source}): {because}")

    def assign(self, value: T, source: str) -> None:
        """Make `value`, which is verified, the setting's value."""
        self._value = value
        self.source = source

    def described(self) -> SettingDescription:
        """Return the setting as data to show."""
        return SettingDescription(
            name=self.name,
            default=_shown(self.default),
            unit=self.unit,
            type=_TYPE_NAMES.get(self.parse, getattr(self.parse, "__name__", "text")),
            description=self.description,
            allowed=()
            if self.verify is None or callable(self.verify)
            else tuple(_shown(allowed) for allowed in self.verify),
            update=self.update is not False,
            value=None if self._value is _UNSET else _shown(self._value),
            source=self.source,
        )

    def _expected(self) -> str:
        return _EXPECTED.get(self.parse, "")


class Registry:
    """The settings of the scenario that this process runs, by name."""

    def __init__(self) -> None:
        self._settings: dict[str, Setting[Any]] = {}
        self._configured = False

    def reset(self) -> None:
        """Forget all declarations and values, before a scenario is imported."""
        self._settings.clear()
        self._configured = False

    def add(self, setting: Setting[T]) -> Setting[T]:
        """Take in a declaration. A second one of the same name is an error unless it is equal."""
        if self._configured:
            raise UsageError(
                f"setting {setting.name} is declared too late: declare settings at the top level "
                "of the scenario, where amoc can verify them before the run"
            )
        known = self._settings.setdefault(setting.name, setting)
        if known is not setting and known.described() != setting.described():
            raise UsageError(f"setting {setting.name} is declared twice, and differently")
        return cast("Setting[T]", known)

    def get(self, name: str) -> Setting[Any]:
        """Return the setting; UsageError names the declared ones where there is no such."""
        found = self._settings.get(name)
        if found is None:
            raise UsageError(self._unknown(name))
        return found

    def configure(self, given: Mapping[str, str], environ: Mapping[str, str]) -> None:
        """Give each setting its value: from `given`, else from `environ`, else the default.

        Raises UsageError for an unknown or invalid one; then no setting is changed.
        """
        for name in given:
            self.get(name)
        chosen: list[tuple[Setting[Any], Any, str]] = []
        for name, setting in self._settings.items():
            variable = variable_of(name)
            if name in given:
                source = "--set"
                value = setting.parsed(given[name], source)
            elif variable in environ:
                source = f"environment variable {variable}"
                value = setting.parsed(environ[variable], source)
            else:
                source = "default"
                value = setting.verified(setting.default, "its default")
            chosen.append((setting, value, source))
        for setting, value, source in chosen:
            setting.assign(value, source)
        self._configured = True

    def check(self, name: str, text: str) -> None:
        """Raise UsageError where `update` would refuse `text` before calling the scenario."""
        self._changeable(name).parsed(text, "set")

    def update(self, name: str, text: str) -> None:
        """Change a value while the run goes on; the setting's own update function may refuse.

        Raises UsageError for an unknown, read-only, invalid or refused one; it keeps its value.
        """
        setting = self._changeable(name)
        value = setting.parsed(text, "set")
        if callable(setting.update):
            try:
                setting.update(setting.value, value)
            except ValueError as error:
                raise UsageError(f"setting {name}: {text!r} (set): {error}") from None
        setting.assign(value, "set")

    def described(self) -> list[SettingDescription]:
        """Return all settings, in the order of their declarations."""
        return [setting.described() for setting in self._settings.values()]

    def _changeable(self, name: str) -> Setting[Any]:
        setting = self.get(name)
        if setting.update is False:
            changeable = [s.name for s in self._settings.values() if s.update is not False]
            raise UsageError(
                f"setting {name} cannot be changed during a run; "
                + (f"these can: {', '.join(changeable)}" if changeable else "none can")
            )
        return setting

    def _unknown(self, name: str) -> str:
        if not self._settings:
            return f"there is no setting {name}: the scenario declares none"
        close = get_close_matches(name, self._settings, 1)
        hint = f", did you mean {close[0]}?" if close else ";"
        return f"there is no setting {name}{hint} There are: {', '.join(self._settings)}"


registry = Registry()
"""The settings of this process."""


@overload
def declare(
    name: str,
    default: T,
    description: str,
    *,
    type: None = None,
    unit: str = "",
    verify: Verify | None = None,
    update: Update = False,
) -> Setting[T]: ...
@overload
def declare(
    name: str,
    default: T | str,
    description: str,
    *,
    type: Callable[[str], T],
    unit: str = "",
    verify: Verify | None = None,
    update: Update = False,
) -> Setting[T]: ...
def declare(
    name: str,
    default: Any,
    description: str,
    *,
    type: Callable[[str], Any] | None = None,  # noqa: A002  # as argparse and click call it
    unit: str = "",
    verify: Verify | None = None,
    update: Update = False,
) -> Setting[Any]:
    """Declare a setting of the scenario, at its top level, and return it.

    `type` turns text into the value and raises ValueError where it cannot; without it the default's
    own type is meant (str, int, float or bool). A default that is text goes through `type` too, so
    that `declare("pause", "1m30s", ..., type=settings.duration)` reads as it is written.
    `verify` is a list of the allowed values, or a function of the value that answers True, False,
    (True, other value to take) or (False, "why not"). `update` says whether `set` may change the
    value during a run; a function of the old and the new value is called when it does, and may
    refuse with ValueError. Raises UsageError for a declaration that cannot work.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"setting {name!r}: a name is small letters, digits and _, such as my_url")
    if name in RESERVED:
        raise UsageError(f"setting {name}: the name belongs to the run itself, choose another")
    parse = type or _PARSERS.get(default.__class__)
    if parse is None:
        known = ", ".join(sorted(kind.__name__ for kind in _PARSERS))
        raise UsageError(
            f"setting {name}: its default is a {default.__class__.__name__}; give type=, a "
            f"function of the text, or a default of one of the types {known}"
        )
    if type is not None and isinstance(default, str):
        try:
            default = type(default)
        except ValueError as error:
            raise UsageError(f"setting {name}: its default: {error}") from None
    return registry.add(
        Setting(
            name,
            default,
            description,
            parse=parse,
            unit=unit,
            verify=verify,
            update=update,
        )
    )


def get(name: str) -> Setting[Any]:
    """Return a declared setting by its name. Raises UsageError that names the declared ones."""
    return registry.get(name)


def variable_of(name: str) -> str:
    """Return the environment variable that gives setting `name` its value."""
    return f"AMOC_{name.upper()}"


def _boolean(text: str) -> bool:
    return _BOOLEANS[text.strip().lower()] if text.strip().lower() in _BOOLEANS else _refuse(text)


def _refuse(text: str) -> bool:
    raise ValueError(f"{text!r} is neither true nor false")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


_PARSERS: dict[type, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: _finite,
    bool: _boolean,
}
_TYPE_NAMES: dict[Callable[[str], Any], str] = {_finite: "float", float: "float", _boolean: "bool"}
_EXPECTED: dict[Callable[[str], Any], str] = {
    int: "is not a whole number",
    _finite: "is not a number",
    float: "is not a number",
    _boolean: "is neither true nor false (also yes/no, on/off, 1/0)",
}
