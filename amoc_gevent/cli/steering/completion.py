"""Completion at a prompt: verbs, options, and names of scenarios, nodes and runs."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import click

from amoc_gevent.cli.steering.verb_parser import flags_of, verbs
from amoc_gevent.core.run.options import OPTIONS

VALUES: dict[str, tuple[str, ...]] = {
    flag: tuple(option.type.choices)
    for verb in verbs.commands.values()
    for option in verb.params
    if isinstance(option, click.Option) and isinstance(option.type, click.Choice)
    for flag in option.opts
}
"""The choices of options that have them, by flag."""


class Words(NamedTuple):
    """Sources of names: `scenarios()`, and `named("nodes")` or `named("runs")`.

    `settings(scenario)` returns the settings of a scenario; "" means those that the run can change.
    """

    scenarios: Callable[[], list[str]]
    named: Callable[[str], list[str]]
    settings: Callable[[str], list[str]]


def candidates(text: str, words: Words) -> tuple[int, list[str]]:
    """Return the length of the begun word before the cursor, and its completions."""
    *before, begun = text.split(" ")
    before = [word for word in before if word]
    if before and before[-1] == "--nodes":
        *chosen, begun = begun.split(",")
        names = (name for name in words.named("nodes") if name not in chosen)
        return len(begun), _beginning(begun, names)
    return len(begun), _beginning(begun, _next(before, begun, words))


def _beginning(begun: str, found: Iterable[str]) -> list[str]:
    return [one for one in found if one.startswith(begun) and one != begun and one.isprintable()]


def _next(before: list[str], begun: str, words: Words) -> list[str]:
    """Return the candidates after the complete words `before`."""
    if not before:
        return [*verbs.commands, "help", "exit"]
    if begun.startswith("-"):
        return flags_of(before[0])
    if before[-1] in VALUES:
        return [*VALUES[before[-1]]]
    if before[0] == "do" and before[-1] == "--set":
        return [f"{name}=" for name in words.settings(before[1])]
    if len(before) == 1 and before[0] in _SECOND:
        return _SECOND[before[0]](words)
    return [] if before[0] == "do" and len(before) < 4 else flags_of(before[0])


_SECOND: dict[str, Callable[[Words], list[str]]] = {
    "do": lambda words: words.scenarios(),
    "summary": lambda words: words.named("runs"),
    "set": lambda words: [*OPTIONS, *words.settings("")],
    "help": lambda _: [*verbs.commands],
}
