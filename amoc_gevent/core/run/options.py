"""The options of a run, each defined once: its name, help, kind, bounds and default.

`amoc run`, `amoc do`, the prompt and the control socket take them from here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from amoc_gevent.core.run.plan import ON_NODE_LOSS, ON_USER_ERROR, Options
from amoc_gevent.core.units import parse_duration, parse_rate
from amoc_gevent.errors import UsageError

Kind = Literal["rate", "time", "count", "choice"]
"""Users a second, seconds, a whole number from 0 on, one of `choices`."""


@dataclass(frozen=True, slots=True)
class RunOption:
    """An option of a run: `name` is that of its field in `Options`."""

    name: str
    kind: Kind
    about: str
    choices: tuple[str, ...] = ()
    none: str = ""
    """The meaning of 0, where that is the default."""

    @property
    def default(self) -> float | str:
        """The value of a run that was not given this option."""
        value: float | str = getattr(_DEFAULTS, self.name)
        return value

    @property
    def help(self) -> str:
        """A line about it that ends with its default."""
        shown = str(self.default)
        if isinstance(self.default, float):
            rate = self.kind == "rate"
            shown = f"{self.default:g}/s" if rate else f"{self.default:g}s"
        return f"{self.about} [{shown}{f': {self.none}' if self.none else ''}]."

    def parse(self, text: str) -> float | str:
        """Return the value that `text` says. ValueError says what is wrong with it."""
        if self.kind == "choice":
            if text not in self.choices:
                raise ValueError(f"{text!r} is none of {', '.join(self.choices)}")
            return text
        return _PARSERS[self.kind](text)


ROUNDS_MAX = 1_000_000_000
"""The most rounds a user can be given: more than it can do in a year."""


def _count(text: str) -> int:
    """Return a number of rounds. Only its length is looked at before it is a number."""
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text[:20]!r} is not a number of rounds (0: without end)")
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(ROUNDS_MAX)) or int(digits) > ROUNDS_MAX:
        raise ValueError(f"{text[:20]}: {ROUNDS_MAX:,} rounds at most (0: without end)")
    return int(digits)


_PARSERS: dict[Kind, Callable[[str], float]] = {
    "rate": parse_rate,
    "time": parse_duration,
    "count": _count,
}
_DEFAULTS = Options()

RUN_OPTIONS = {
    option.name: option
    for option in (
        RunOption("user_rate", "rate", "Users started a second, over all workers"),
        RunOption("repeat_interval", "time", "Rest between two rounds of a user"),
        RunOption("repeat_num", "count", "Rounds of each user", none="no end"),
        RunOption(
            "on_user_error",
            "choice",
            "After an exception in start: go on, remove the user, or stop the run",
            ON_USER_ERROR,
        ),
        RunOption("stop_timeout", "time", "How long a gentle stop may take"),
        RunOption(
            "on_node_loss",
            "choice",
            "Users of a lost node: start on other nodes, or wait for it",
            ON_NODE_LOSS,
        ),
    )
}

OPTIONS = tuple(RUN_OPTIONS)
"""The names of the options of a run."""


def changed_option(options: Options, name: str, text: str) -> Options:
    """Return `options` with `name` set to what `text` says. UsageError names what is wrong."""
    if name not in RUN_OPTIONS:
        raise UsageError(f"there is no option {name}; there are {', '.join(OPTIONS)}")
    try:
        value = RUN_OPTIONS[name].parse(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    return replace(options, **{name: value})  # type: ignore[arg-type]  # each parser's type fits
