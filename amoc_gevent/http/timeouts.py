"""The timeouts of a request: a number, (connect, read) or (connect, read, total)."""

from typing import NamedTuple

from amoc_gevent.errors import UsageError
from amoc_gevent.transport import NEVER

Timeout = float | tuple[float | None, ...] | None


class Timeouts(NamedTuple):
    """Limits in seconds for connecting, each wait for bytes, and the call with its redirects."""

    connect: float = 10.0
    read: float = 60.0
    total: float = NEVER


class Limits(NamedTuple):
    """The limits of one call: `connect` and `read` in seconds, `deadline` in monotonic seconds."""

    connect: float
    read: float
    deadline: float = NEVER


def timeouts(given: Timeout, default: Timeouts) -> Timeouts:
    """Convert a `timeout=` argument. None means `default`; None in a tuple means no limit."""
    if given is None:
        return default
    if isinstance(given, Timeouts):
        return given
    steps = given if isinstance(given, tuple) else (given, given)
    if len(steps) not in (2, 3) or any(s is not None and not s > 0 for s in steps):
        raise UsageError(
            f"timeout={given!r} must be seconds, (connect, read) or (connect, read, total)"
        )
    return Timeouts(*(NEVER if s is None else float(s) for s in steps))
