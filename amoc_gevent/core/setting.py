"""One setting of a scenario: how text is parsed into its value, and which values are allowed.

The registry in `amoc_gevent.settings` holds all settings and knows the source of each value.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar, cast

from amoc_gevent.core import units
from amoc_gevent.errors import UsageError

T = TypeVar("T")
Verdict = bool | tuple[bool, Any]
Verify = Collection[Any] | Callable[[Any], Verdict]
Update = bool | Callable[[Any, Any], object]

_UNSET = object()
ALLOWED_MAX = 100
"""The number of allowed values to list. `verify` may be a range of millions."""

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def integer(text: str) -> int:
    """Parse a whole number. Raises ValueError."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """Parse a finite number. Raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a number")
    return value


def boolean(text: str) -> bool:
    """Parse true/false, yes/no, on/off or 1/0, in any case. Raises ValueError."""
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is neither true nor false (nor yes, no, on, off, 1, 0)")
    return word in _TRUE


def duration(text: str) -> float:
    """Parse a time such as `500ms`, `30s` or `5m` as seconds: `declare(..., type=duration)`."""
    return units.parse_duration(text)


def rate(text: str) -> float:
    """Parse a rate such as `20/s` or `1200/min` per second: `declare(..., type=rate)`."""
    return units.parse_rate(text)


PARSERS: dict[object, Callable[[str], Any]] = {str: str, int: integer, float: number, bool: boolean}
"""The parser for each type that a setting can have, named or taken from its default."""

_TYPE_NAMES: dict[Any, str] = {integer: "int", number: "float", boolean: "bool"}


@dataclass(frozen=True, slots=True)
class SettingDescription:
    """One setting as data to display. `default` and `value` are text that `--set` accepts.

    `value` is None before the run is configured. `allowed` lists the values in `verify`, shortened
    with "..." if there are many; it is empty if a function decides or all values are allowed.
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


class Setting(Generic[T]):
    """One declared setting, made by `settings.declare`. `value` is its value in this run."""

    __slots__ = (
        "_value",
        "default",
        "default_text",
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
        default_text: str = "",
    ) -> None:
        self.name = name
        self.default = default
        self.default_text = default_text
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
        """Return the verified value of `text`. Raises UsageError, which names `source`."""
        try:
            value = self.parse(text)
        except Exception as error:  # noqa: BLE001  # the boundary around the scenario's function
            raise self.refusal(text, source, _reason(error)) from None
        return self.verified(value, source)

    def verified(self, value: T, source: str) -> T:
        """Return `value`, or its replacement by `verify`. Raises UsageError if it is refused.

        None, the default of an optional setting, is not verified.
        """
        if self.verify is None or value is None:
            return value
        if not callable(self.verify):
            if value in self.verify:
                return value
            raise self.refusal(value, source, f"allowed are {', '.join(self._allowed())}")
        try:
            verdict = self.verify(value)
        except Exception as error:  # noqa: BLE001  # the boundary around the scenario's function
            raise self.refusal(value, source, _reason(error)) from None
        accepted, what = verdict if isinstance(verdict, tuple) else (verdict, None)
        if not accepted:
            raise self.refusal(value, source, what or f"not allowed; it is {self.description}")
        return cast("T", what) if isinstance(verdict, tuple) else value

    def changed(self, value: T, source: str) -> None:
        """Call the scenario's update function with the verified `value`.

        Raises UsageError if the function refuses it.
        """
        if callable(self.update):
            try:
                self.update(self.value, value)
            except Exception as error:  # noqa: BLE001  # the boundary around its function
                raise self.refusal(value, source, _reason(error)) from None

    def assign(self, value: T, source: str) -> None:
        """Set the verified `value`."""
        self._value = value
        self.source = source

    def refusal(self, value: object, source: str, why: str) -> UsageError:
        """Return the error for a wrong value of this setting, with its source and the reason."""
        text = repr(value) if isinstance(value, str) else self._text(value)
        why = why.removeprefix(text) if why.startswith(text) else f": {why}"
        return UsageError(f"setting {self.name}: {text} ({source}){why}")

    def described(self) -> SettingDescription:
        """Return the setting as data to display."""
        return SettingDescription(
            name=self.name,
            default=self.default_text or self._text(self.default),
            unit=self.unit,
            type=_TYPE_NAMES.get(self.parse, getattr(self.parse, "__name__", "text")),
            description=self.description,
            allowed=tuple(self._allowed()),
            update=self.update is not False,
            value=None if self._value is _UNSET else self._text(self._value),
            source=self.source,
        )

    def _allowed(self) -> list[str]:
        if self.verify is None or callable(self.verify):
            return []
        if isinstance(self.verify, set | frozenset):
            texts = sorted(map(self._text, self.verify))
        else:
            texts = [self._text(value) for value in islice(self.verify, ALLOWED_MAX + 1)]
        if len(texts) <= ALLOWED_MAX:
            return texts
        last = [self._text(self.verify[-1])] if isinstance(self.verify, Sequence) else []
        return [*texts[: ALLOWED_MAX - 2], "...", *last]

    def _text(self, value: object) -> str:
        """Return `value` as text that `--set` accepts."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            return "none"
        if isinstance(value, set | frozenset):  # in the same order in all processes
            return f"{{{', '.join(sorted(map(repr, value)))}}}"
        if not isinstance(value, float):
            return str(value)
        parse: object = self.parse
        if parse is duration and units.parse_duration(units.format_duration(value)) == value:
            return units.format_duration(value).replace(" ", "")
        suffix = "s" if parse is duration else "/s" if parse is rate else ""
        return f"{value:.15g}{suffix}"


def _reason(error: Exception) -> str:
    """Return the first line of an error, with its type unless that is ValueError."""
    text = (str(error).splitlines() or [""])[0]
    if isinstance(error, ValueError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def hint_of(given: object) -> str:
    """Return how to take the value of a setting that was given itself; "" for anything else."""
    return f", such as that of setting {given.name}: .value" if isinstance(given, Setting) else ""
