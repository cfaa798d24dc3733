"""What a scenario can be told from outside: its settings, their values and where those came from.

A scenario declares each setting at its top level and reads it inside its callbacks::

    url = settings.declare("url", "http://127.0.0.1:8080", "the service to load")

    def start(user_id):
        http.Session(url.value)

A value comes from `--set NAME=VALUE`, else from the environment (`AMOC_<NAME>` in capitals), else
it is the default. Values exist once the run is configured, so reading one at import is an error:
a value read there would silently miss `--set`.
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
"""Names that mean something to a run itself, as options or as AMOC_<NAME>."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


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
        """Change a value while the run goes on; the setting's own update function may refuse.

        Raises UsageError for an unknown, read-only, invalid or refused one; it keeps its value.
        """
        setting = self._changeable(name)
        value = setting.parsed(text, "set")
        setting.changed(value, "set")
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
    parse = PARSERS.get(type or default.__class__) or type
    if parse is None:
        raise UsageError(
            f"setting {name}: its default is a {default.__class__.__name__}; give type=, a "
            "function of the text, or a default that is a str, int, float or bool"
        )
    default_text = ""
    if type is not None and isinstance(default, str):
        if type not in {*PARSERS, duration, rate}:  # only `type` knows how its values are written
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
    """Return a declared setting by its name. Raises UsageError that names the declared ones."""
    return registry.get(name)


def _variable_of(name: str) -> str:
    """Return the environment variable that gives setting `name` its value."""
    return f"AMOC_{name.upper()}"
