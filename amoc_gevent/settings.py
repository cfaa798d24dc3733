"""Settings of a scenario: declarations, values, and where each value came from.

A scenario declares each setting at its top level and reads it inside its callbacks::

    url = settings.declare("url", "http://127.0.0.1:8080", "the service to load")

    def start(user_id):
        http.Session(url.value)

A value comes from `--set NAME=VALUE`, else from the environment (`AMOC_<NAME>` in capitals), else
from the default. Values exist only after the run is configured. Reading one at import is an error,
as it would silently miss `--set`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast, overload

from amoc_gevent.core.run.options import OPTIONS
from amoc_gevent.core.setting import (
    PARSERS,
    Setting,
    SettingDescription,
    Update,
    Verify,
    duration,
    rate,
)
from amoc_gevent.core.suggestions import there_are
from amoc_gevent.errors import UsageError

__all__ = ["Setting", "SettingDescription", "declare", "duration", "get", "rate", "registry"]

T = TypeVar("T")

RESERVED = frozenset({"home", "log", "interarrival", *OPTIONS})
"""Names that amoc itself uses, as options or as AMOC_<NAME>."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Registry:
    """The settings of the scenario in this process, by name."""

    def __init__(self) -> None:
        self._settings: dict[str, Setting[Any]] = {}
        self._configured = False

    def reset(self) -> None:
        """Remove all declarations and values before a scenario is imported."""
        self._settings.clear()
        self._configured = False

    def add(self, setting: Setting[T]) -> Setting[T]:
        """Add a declaration. Raises UsageError after `configure` and for a different second one."""
        if self._configured:
            raise UsageError(
                f"setting {setting.name} is declared too late: declare settings at the top level "
                "of the scenario, so that amoc can verify them before the run"
            )
        known = self._settings.setdefault(setting.name, setting)
        if known is not setting and known.described() != setting.described():
            raise UsageError(f"setting {setting.name} has two different declarations")
        return cast("Setting[T]", known)

    def get(self, name: str) -> Setting[Any]:
        """Return a setting. Raises UsageError with the declared names for an unknown one."""
        found = self._settings.get(name)
        if found is None:
            raise UsageError(self._unknown(name))
        return found

    def configure(self, given: Mapping[str, str], environ: Mapping[str, str]) -> None:
        """Set each value from `given`, else from `environ`, else from the default.

        Raises UsageError for an unknown name or an invalid value; then no setting is changed.
        """
        for name in given:
            self.get(name)
        chosen: list[tuple[Setting[Any], Any, str]] = []
        for name, setting in self._settings.items():
            variable = _variable_of(name)
            if name in given:
                source = "--set"
                value = setting.parsed(given[name], source)
            elif variable in environ:
                source = f"environment variable {variable}"
                value = setting.parsed(environ[variable], source)
            else:
                source = "default"
                value = setting.verified(setting.default, source)
            chosen.append((setting, value, source))
        for setting, value, source in chosen:
            setting.assign(value, source)
        self._configured = True

    def update(self, name: str, text: str) -> None:
        """Change a value during the run.

        Raises UsageError if the name is unknown, the setting is read-only, the value is invalid, or
        the setting's update function refuses it. The old value then stays.
        """
        setting = self._changeable(name)
        value = setting.parsed(text, "set")
        setting.changed(value, "set")
        setting.assign(value, "set")

    def described(self) -> list[SettingDescription]:
        """Return descriptions of all settings, in declaration order."""
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
        return f"there is no setting {name}{there_are(name, self._settings)}"


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
    """Declare a setting at the top level of a scenario, and return it.

    `type` converts text to the value and raises ValueError for invalid text. If it is omitted, the
    type of the default is used (str, int, float or bool). A text default is converted too, so
    `declare("pause", "1m30s", ..., type=settings.duration)` works.
    `verify` is a list of allowed values, or a function of the value that returns True, False,
    (True, replacement value) or (False, "reason"). `update` says whether `set` may change the value
    during a run. It may be a function of the old and the new value, which is called on a change and
    raises ValueError to refuse it. Raises UsageError for an invalid declaration.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"setting {name!r}: use small letters, digits and _ only, such as my_url")
    if name in RESERVED:
        raise UsageError(f"setting {name}: the name belongs to the run itself; choose another")
    parse = PARSERS.get(type or default.__class__) or type
    if parse is None:
        raise UsageError(
            f"setting {name}: its default is a {default.__class__.__name__}; give type=, a "
            "function that converts text, or a default that is a str, int, float or bool"
        )
    default_text = ""
    if type is not None and isinstance(default, str):
        if type not in {*PARSERS, duration, rate}:  # only `type` knows how to write its values
            default_text = default
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
            default_text=default_text,
        )
    )


def get(name: str) -> Setting[Any]:
    """Return a declared setting. Raises UsageError with the declared names for an unknown one."""
    return registry.get(name)


def _variable_of(name: str) -> str:
    """Return the name of the environment variable for setting `name`."""
    return f"AMOC_{name.upper()}"
