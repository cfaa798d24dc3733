"""The latencies that the benchmark `recording` records, the same for all."""

import random
from collections.abc import Sequence

Values = Sequence[tuple[int, int, int]]
"""Of each operation: its latency, its time to the first byte and the generator's lag, in µs."""


def values_of(count: int) -> Values:
    """Return so many: first bytes after 10 ms (log-normal), lags of 300 µs (exponential)."""
    dice = random.Random(1)
    found = []
    for _ in range(count):
        first = dice.lognormvariate(9.2, 0.5)
        found.append((int(first * 1.1), int(first), int(dice.expovariate(1 / 300))))
    return found
