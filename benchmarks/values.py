"""The latencies that all generators of the benchmark `recording` record."""

import random
from collections.abc import Sequence

Values = Sequence[tuple[int, int, int]]
"""For each operation: latency, time to the first byte and the generator's lag, in µs."""


def values_of(count: int) -> Values:
    """Return `count` values: first byte after 10 ms (log-normal), lag of 300 µs (exponential)."""
    rng = random.Random(1)
    found = []
    for _ in range(count):
        first = rng.lognormvariate(9.2, 0.5)
        found.append((int(first * 1.1), int(first), int(rng.expovariate(1 / 300))))
    return found
