"""One setting of a scenario: how text becomes its value, and which values it takes.

Where a value came from, and which settings there are, is the registry's in `amoc_gevent.settings`.
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
"""Allowed values that are listed; `verify` may be a range of millions."""

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def integer(text: str) -> int:
    """Read a whole number. Raises ValueError."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """Read a finite number. Raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a number")
    return value


def boolean(text: str) -> bool:
    """Read true or false, as people write them. Raises ValueError."""
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is neither true nor false (nor yes, no, on, off, 1, 0)")
    return word in _TRUE


def duration(text: str) -> float:
    """Read a time such as `500ms`, `30s`, `5m` as seconds: `declare(..., type=duration)`."""
    return units.parse_duration(text)


def rate(text: str) -> float:
    """Read a rate such as `20/s`, `1200/min` as so many a second: `declare(..., type=rate)`."""
    return units.parse_rate(text)


PARSERS: dict[object, Callable[[str], Any]] = {str: str, int: integer, float: number, bool: boolean}
"""What reads a setting of one of these types, its default's or one given by name."""

_TYPE_NAMES: dict[Any, str] = {integer: "int", number: "float", boolean: "bool"}


@dataclass(frozen=True, slots=True)
class SettingDescription:
    """One setting as data to show; `default` and `value` are text that `--set` would take.

    `value` is None before the run is configured. `allowed` lists the values that `verify` lists,
    with "..." in place of some where there are many, and is empty where a function decides or all
    are allowed.
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
    """One declared setting; `value` is what it is in this run. `settings.declare` makes it."""

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
        """Return the value that `text` means, verified; UsageError names `source`."""
        try:
            value = self.parse(text)
        except Exception as error:  # noqa: BLE001  # the boundary around the scenario's function
            raise self.refusal(text, source, _reason(error)) from None
        return self.verified(value, source)

    def verified(self, value: T, source: str) -> T:
        """Return `value`, or what `verify` puts in its place; UsageError where it refuses.

        None, the default of a setting that may be left out, is not asked about.
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
        """Tell the scenario's update function of `value`, which is verified; it may refuse."""
        if callable(self.update):
            try:
                self.update(self.value, value)
            except Exception as error:  # noqa: BLE001  # the boundary around its function
                raise self.refusal(value, source, _reason(error)) from None

    def assign(self, value: T, source: str) -> None:
        """Make `value`, which is verified, the setting's value."""
        self._value = value
        self.source = source

    def refusal(self, value: object, source: str, why: str) -> UsageError:
        """Return the error that says which value of this setting is wrong, from where, and why."""
        text = repr(value) if isinstance(value, str) else self._text(value)
        why = why.removeprefix(text) if why.startswith(text) else f": {why}"
        return UsageError(f"setting {self.name}: {text} ({source}){why}")

    def described(self) -> SettingDescription:
        """Return the setting as data to show."""
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
        """Return `value` as `--set` would take it."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            return "none"
        if isinstance(value, set | frozenset):  # in an order that all processes have
            return f"{{{', '.join(sorted(map(repr, value)))}}}"
        if not isinstance(value, float):
            return str(value)
        parse: object = self.parse
        if parse is duration and units.parse_duration(units.format_duration(value)) == value:
            return units.format_duration(value).replace(" ", "")
        suffix = "s" if parse is duration else "/s" if parse is rate else ""
        return f"{value:.15g}{suffix}"


def _reason(error: Exception) -> str:
    """Return what a function of the scenario says is wrong; ValueError speaks for itself."""
    text = (str(error).splitlines() or [""])[0]
    if isinstance(error, ValueError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
