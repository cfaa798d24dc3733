"""The options of a run, each defined once: its name, help, kind, choices and default.

`amoc run`, `amoc do`, the prompt and the control socket use these definitions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from amoc_gevent.core.run.plan import ON_NODE_LOSS, ON_USER_ERROR, Options
from amoc_gevent.core.units import parse_duration, parse_rate
from amoc_gevent.errors import UsageError

Kind = Literal["rate", "time", "count", "choice"]
"""Users per second, seconds, a non-negative integer, or one of `choices`."""


@dataclass(frozen=True, slots=True)
class RunOption:
    """An option of a run. `name` is the name of its field in `Options`."""

    name: str
    kind: Kind
    about: str
    choices: tuple[str, ...] = ()
    none: str = ""
    """The meaning of the default 0."""

    @property
    def default(self) -> float | str:
        """The value of the option if it is not given."""
        value: float | str = getattr(_DEFAULTS, self.name)
        return value

    @property
    def help(self) -> str:
        """One line of help that ends with the default."""
        shown = str(self.default)
        if isinstance(self.default, float):
            rate = self.kind == "rate"
            shown = f"{self.default:g}/s" if rate else f"{self.default:g}s"
        return f"{self.about} [{shown}{f': {self.none}' if self.none else ''}]."

    def parse(self, text: str) -> float | str:
        """Return the value of `text`. Raises ValueError, which says what is wrong with it."""
        if self.kind == "choice":
            if text not in self.choices:
                raise ValueError(f"{text!r} is not one of {', '.join(self.choices)}")
            return text
        return _PARSERS[self.kind](text)


ITERATIONS_MAX = 1_000_000_000
"""The maximum number of iterations of a user, more than it can do in a year."""


def _count(text: str) -> int:
    """Return a number of iterations. Check the length first: parsing long numbers is slow."""
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text[:20]!r} is not a number of iterations (0: without end)")
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(ITERATIONS_MAX)) or int(digits) > ITERATIONS_MAX:
        raise ValueError(f"{text[:20]}: {ITERATIONS_MAX:,} iterations at most (0: without end)")
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
        RunOption("user_rate", "rate", "Users to start per second, over all workers"),
        RunOption("repeat_interval", "time", "Pause of a user between two iterations"),
        RunOption("repeat_num", "count", "Iterations of each user", none="no limit"),
        RunOption(
            "on_user_error",
            "choice",
            "After an exception in start: repeat, remove the user, or stop the run",
            ON_USER_ERROR,
        ),
        RunOption("stop_timeout", "time", "Time for a gentle stop before users are interrupted"),
        RunOption(
            "on_node_loss",
            "choice",
            "Users of a lost node: replace them on other nodes, or keep them until it returns",
            ON_NODE_LOSS,
        ),
    )
}

OPTIONS = tuple(RUN_OPTIONS)
"""The names of all options."""


def changed_option(options: Options, name: str, text: str) -> Options:
    """Return `options` with `name` set to the value of `text`. Raises UsageError."""
    if name not in RUN_OPTIONS:
        raise UsageError(f"there is no option {name}; there are {', '.join(OPTIONS)}")
    try:
        value = RUN_OPTIONS[name].parse(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    return replace(options, **{name: value})  # type: ignore[arg-type]  # each parser's type fits
