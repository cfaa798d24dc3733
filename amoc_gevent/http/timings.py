"""The durations of one exchange."""

from typing import NamedTuple


class Timings(NamedTuple):
    """Durations of an exchange and its parts in µs; None for a part that did not happen."""

    total: int
    first_byte: int | None = None
    connect: int | None = None
    tls: int | None = None
