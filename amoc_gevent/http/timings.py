"""How long an exchange took."""

from typing import NamedTuple


class Timings(NamedTuple):
    """How long an exchange took, in µs; None where a part did not happen."""

    total: int
    first_byte: int | None = None
    connect: int | None = None
    tls: int | None = None
