"""The manifest: what a loaded scenario declares, the same in all workers of a run.

A worker sends its manifest with its first report as ready. The node compares the manifests of its
workers and forwards one. The master compares those of all nodes. If any differ, the run fails.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from amoc_gevent.core.setting import SettingDescription
from amoc_gevent.errors import AmocError

ENTRIES_MAX = 1000
"""The maximum number of entries in one field of a manifest, such as its settings."""

CHARACTERS_MAX = 250_000
"""The maximum number of characters in all texts of a manifest together."""

SHOWN_MAX = 60
"""The number of characters that an error message quotes of a text."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""The address in the `repr` of an object. It differs between processes with equal objects."""


class DisagreementError(AmocError):
    """Two workers of one run have loaded different declarations."""


@dataclass(frozen=True, slots=True)
class DeclaredSetting:
    """A setting without its value. `default` is text that `--set` accepts.

    `allowed` is empty if a function decides or all values are allowed.
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
    """The declarations of the scenario `scenario`. Raises ValueError if they are too large.

    `callbacks` are signatures such as "start(user_id, state)". `operations` are operation names
    seen so far, at most 1000; they depend on what users do, so workers may differ in them. Values
    of settings are never included. `profile`, `throttles`, `expectations` and `feeders` are not
    filled yet; each entry is the text of one declaration.
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
                most = f"at most {ENTRIES_MAX:,} can be sent to the master"
                raise ValueError(f"it has {len(value):,} {field.name}; {most}")
        size = self._characters()
        if size > CHARACTERS_MAX:
            raise ValueError(
                f"its docstring and declarations are {size:,} characters long; "
                f"at most {CHARACTERS_MAX:,} can be sent to the master"
            )

    def _characters(self) -> int:
        flat = [self.scenario, self.docstring, self.profile, *self.callbacks, *self.operations]
        flat += [*self.throttles, *self.expectations, *self.feeders]
        for one in self.settings:
            flat += [one.name, one.default, one.unit, one.type, one.description, *one.allowed]
        return sum(map(len, flat))

    def with_operations(self, names: Iterable[str]) -> "Manifest":
        """Return the manifest with these operations added, as far as there is room."""
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
    """A manifest and its sender, a worker or a node such as "node a"."""

    manifest: Manifest
    by: str


def declaration(setting: SettingDescription) -> DeclaredSetting:
    """Return a setting's description without its value, for a manifest."""
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
    """Return the manifest of the run after `new` arrived: the known one, with new operations added.

    Raises DisagreementError if the two declare different things.
    """
    if known is None:
        return new
    what = _difference(known, new)
    if what:
        raise DisagreementError(
            f"{new.by} and {known.by} loaded different declarations of scenario "
            f"{_shown(known.manifest.scenario)}: {what}; {_ADVICE}"
        )
    manifest = known.manifest
    if not {*new.manifest.operations} <= {*manifest.operations}:
        manifest = manifest.with_operations(new.manifest.operations)
    return replace(known, manifest=manifest)


_ADVICE = (
    "use the same files everywhere, and no declaration that depends on the machine, its "
    "environment, the time or chance (pass such a value with --set)"
)


def _difference(known: Declared, new: Declared) -> str:
    """Describe the first difference; "" if there is none."""
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
    """Return the first field in which two objects of one type differ, "" if there is none."""
    names = (field.name for field in fields(one) if field.name not in but)  # type: ignore[arg-type]
    return next((n for n in names if _stable(one, n) != _stable(other, n)), "")


def _stable(one: object, name: str) -> str:
    """Return a field as text, without addresses, which differ between any two processes."""
    return _ADDRESS.sub("", str(getattr(one, name)))


def _sides(what: str, one: object, other: object, where: tuple[str, str]) -> str:
    values = (_quoted(getattr(each, what)) for each in (one, other))
    return f"{what} " + ", ".join(f"{v} on {w}" for v, w in zip(values, where, strict=True))


def _quoted(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    cut = text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
    return repr(cut)  # a scenario may hold unprintable characters


def _shown(name: str) -> str:
    return name if name.isidentifier() and len(name) <= SHOWN_MAX else _quoted(name)
