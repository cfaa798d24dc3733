"""Time-outs as a request is given them: a number, (connect, read) or (connect, read, total)."""

from typing import NamedTuple

from amoc_gevent.errors import UsageError
from amoc_gevent.transport import NEVER

Timeout = float | tuple[float | None, ...] | None


class Timeouts(NamedTuple):
    """Seconds for connecting, for each wait for bytes, and for the whole call with redirects."""

    connect: float = 10.0
    read: float = 60.0
    total: float = NEVER


class Limits(NamedTuple):
    """The same for one call: seconds, seconds, and monotonic seconds when the call must be over."""

    connect: float
    read: float
    deadline: float = NEVER


def timeouts(given: Timeout, default: Timeouts) -> Timeouts:
    """Return what `given` means; None, as a whole, stands for `default`, within it for no limit."""
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
