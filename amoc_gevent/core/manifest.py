"""The manifest: what a loaded scenario declares, the same in all workers of a run.

A worker sends it with its first report as ready. Its node compares the manifests of its workers and
sends one of them on; the master compares those of all nodes. A run whose workers disagree fails.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from amoc_gevent.core.setting import SettingDescription
from amoc_gevent.errors import AmocError

ENTRIES_MAX = 1000
"""Entries of one field of a manifest, such as its settings."""

CHARACTERS_MAX = 250_000
"""Characters of all texts of a manifest together."""

SHOWN_MAX = 60
"""Characters of a text that a disagreement quotes."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""In the text of an object: it differs between two processes that agree."""


class DisagreementError(AmocError):
    """Two workers of one run have loaded different declarations."""


@dataclass(frozen=True, slots=True)
class DeclaredSetting:
    """A setting without its value; `default` is text that `--set` would take.

    `allowed` is empty where a function decides or all values are allowed.
    """

    name: str
    default: str
    unit: str
    type: str
    description: str
    allowed: tuple[str, ...]
    update: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the scenario `scenario` declares. Raises ValueError where that is too much.

    `callbacks` are shown as they are called: "start(user_id, state)". `operations` are the names
    that operations had so far, at most 1000 of them; they depend on what users do, so workers need
    not agree about them. A value of a setting is never part of a manifest. Nothing fills `profile`,
    `throttles`, `expectations` and `feeders` yet; each entry is the text of one declaration.
    """

    scenario: str
    docstring: str = ""
    callbacks: tuple[str, ...] = ()
    settings: tuple[DeclaredSetting, ...] = ()
    operations: tuple[str, ...] = ()
    profile: str = ""
    throttles: tuple[str, ...] = ()
    expectations: tuple[str, ...] = ()
    feeders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and len(value) > ENTRIES_MAX:
                most = f"{ENTRIES_MAX:,} at most can be sent to the master"
                raise ValueError(f"it has {len(value):,} {field.name}; {most}")
        size = self._characters()
        if size > CHARACTERS_MAX:
            raise ValueError(
                f"its docstring and declarations are {size:,} characters long; "
                f"{CHARACTERS_MAX:,} at most can be sent to the master"
            )

    def _characters(self) -> int:
        flat = [self.scenario, self.docstring, self.profile, *self.callbacks, *self.operations]
        flat += [*self.throttles, *self.expectations, *self.feeders]
        for one in self.settings:
            flat += [one.name, one.default, one.unit, one.type, one.description, *one.allowed]
        return sum(map(len, flat))

    def with_operations(self, names: Iterable[str]) -> "Manifest":
        """Return it with these operations as well, as far as there is room for them."""
        room = CHARACTERS_MAX - self._characters()
        found = {*self.operations}
        for name in sorted({*names} - found):
            if len(found) >= ENTRIES_MAX or len(name) > room:
                break
            found.add(name)
            room -= len(name)
        return replace(self, operations=tuple(sorted(found)))


@dataclass(frozen=True, slots=True)
class Declared:
    """A manifest, and the worker or node that sent it, such as "node a"."""

    manifest: Manifest
    by: str


def declaration(setting: SettingDescription) -> DeclaredSetting:
    """Return the part of a description that a manifest carries: everything but the value."""
    return DeclaredSetting(
        name=setting.name,
        default=setting.default,
        unit=str(setting.unit),
        type=setting.type,
        description=str(setting.description),
        allowed=setting.allowed,
        update=setting.update,
    )


def reconcile(known: Declared | None, new: Declared) -> Declared:
    """Return what holds for the run once `new` has come as well; the first manifest stays.

    Raises DisagreementError, one line, where the two declare different things.
    """
    if known is None:
        return new
    what = _difference(known, new)
    if what:
        raise DisagreementError(
            f"{new.by} and {known.by} have loaded different declarations of scenario "
            f"{_shown(known.manifest.scenario)}: {what}; {_ADVICE}"
        )
    manifest = known.manifest
    if not {*new.manifest.operations} <= {*manifest.operations}:
        manifest = manifest.with_operations(new.manifest.operations)
    return replace(known, manifest=manifest)


_ADVICE = (
    "make declarations the same everywhere: the same files, and no declaration that depends on the "
    "machine, its environment, the time or chance (give such a value by --set)"
)


def _difference(known: Declared, new: Declared) -> str:
    """Return the first difference in words, "" where there is none."""
    one, other = known.manifest, new.manifest
    if one == other:
        return ""
    settings, others = ({each.name: each for each in m.settings} for m in (one, other))
    for name in (*settings, *others):
        if name not in settings or name not in others:
            only = known if name in settings else new
            return f"setting {_shown(name)} is declared only on {only.by}"
        what = _differing(settings[name], others[name], ("name",))
        if what:
            sides = (known.by, new.by)
            return f"setting {_shown(name)}: {_sides(what, settings[name], others[name], sides)}"
    what = _differing(one, other, ("settings", "operations"))
    return _sides(what, one, other, (known.by, new.by)) if what else ""


def _differing(one: object, other: object, but: tuple[str, ...]) -> str:
    """Return the first field in which two of a kind differ, "" where there is none."""
    names = (field.name for field in fields(one) if field.name not in but)  # type: ignore[arg-type]
    return next((n for n in names if _stable(one, n) != _stable(other, n)), "")


def _stable(one: object, name: str) -> str:
    """Return a field as text, without what differs between any two processes."""
    return _ADDRESS.sub("", str(getattr(one, name)))


def _sides(what: str, one: object, other: object, where: tuple[str, str]) -> str:
    values = (_quoted(getattr(each, what)) for each in (one, other))
    return f"{what} " + ", ".join(f"{v} on {w}" for v, w in zip(values, where, strict=True))


def _quoted(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    cut = text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
    return repr(cut)  # what cannot be printed is escaped: it comes from a scenario


def _shown(name: str) -> str:
    return name if name.isidentifier() and len(name) <= SHOWN_MAX else _quoted(name)
