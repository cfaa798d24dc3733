"""A sparse log-linear histogram of non-negative integers, relative error at most 0.1 %.

Each value below 1024 has its own bucket. Above that, each power of two is divided into 512 buckets
of equal width, so a bucket's midpoint is within 1/1024 of every value in it (the layout of
HdrHistogram, Tene 2012, with ten significant bits). Empty buckets are not stored. Histograms merge
by adding buckets, so percentiles are computed from counts and never averaged.
"""

import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import ceil

PRECISION_BITS = 10
PACKED_MAX = 1000
"""How many packed histograms to collect before adding them up. More only take memory."""


def bucket_of(value: int) -> int:
    """Return the key of the bucket for `value` (≥ 0). Keys have the order of the values."""
    shift = value.bit_length() - PRECISION_BITS
    return value if shift <= 0 else (shift << 9) + (value >> shift)


def midpoint_of(key: int) -> float:
    """Return the value that represents the bucket `key`."""
    if key < 1024:
        return float(key)
    shift = (key >> 9) - 1
    low = (key - (shift << 9)) << shift
    return low + ((1 << shift) - 1) / 2


class Histogram:
    """Counts of values by bucket. `buckets` maps each bucket's key to its count."""

    __slots__ = ("buckets",)

    def __init__(self, buckets: Mapping[int, int] | Iterable[tuple[int, int]] = ()) -> None:
        self.buckets: defaultdict[int, int] = defaultdict(int, buckets)

    def record(self, value: int) -> None:
        """Count one value. Negative values count as zero."""
        shift = value.bit_length() - 10
        if shift <= 0:
            self.buckets[value if value > 0 else 0] += 1
        else:
            self.buckets[(shift << 9) + (value >> shift) if value > 0 else 0] += 1

    def merge(self, other: "Histogram") -> None:
        """Add the counts of `other`."""
        mine = self.buckets
        if not mine:
            mine.update(other.buckets)
            return
        for key, count in other.buckets.items():
            mine[key] += count

    def add(self, packed: bytes) -> None:
        """Add packed counts, in the format of `PackedHistogram`."""
        _unpack(packed, self.buckets)

    @property
    def packed(self) -> list[bytes] | None:
        """None: this histogram is not packed."""
        return None

    @property
    def count(self) -> int:
        """The number of recorded values."""
        return sum(self.buckets.values())

    @property
    def min(self) -> float:
        """The smallest value, 0 if there is none."""
        return midpoint_of(min(self.buckets)) if self.buckets else 0.0

    @property
    def max(self) -> float:
        """The largest value, 0 if there is none."""
        return midpoint_of(max(self.buckets)) if self.buckets else 0.0

    @property
    def mean(self) -> float:
        """The mean, 0 if there are no values."""
        count = self.count
        return sum(midpoint_of(k) * n for k, n in self.buckets.items()) / count if count else 0.0

    def percentiles(self, fractions: Iterable[float]) -> list[float]:
        """Return the value at each of `fractions` (ascending, 0..1), by the nearest-rank method."""
        ordered = sorted(self.buckets.items())
        total = sum(count for _, count in ordered)
        found: list[float] = []
        position = iter(ordered)
        key, seen = 0, 0
        for fraction in fractions:
            # Rounded because 0.07 * 100 is 7.000000000000001, but the rank is 7.
            rank = max(1, ceil(round(fraction * total, 6)))
            while seen < min(rank, total):
                key, count = next(position)
                seen += count
            found.append(midpoint_of(key) if total else 0.0)
        return found


class PackedHistogram(Histogram):
    """A histogram from a message. It stays packed until its buckets are read.

    Packed histograms merged into it stay packed too, so those of a thousand nodes are added up at
    once, without a Python step for each bucket. The packed format has each bucket's key and count
    as 16-bit little-endian integers. If a key occurs twice, both counts are added.
    """

    __slots__ = ("_packed", "_unpacked")

    def __init__(self, *packed: bytes) -> None:
        self._packed = [*packed]
        self._unpacked: defaultdict[int, int] | None = None

    @property
    def buckets(self) -> defaultdict[int, int]:  # type: ignore[override]  # unpacked on access
        """The counts by bucket. The caller may add to them."""
        if self._unpacked is None:
            self._unpacked = defaultdict(int)
        if self._packed:
            _unpack(b"".join(self._packed), self._unpacked)
            self._packed.clear()
        return self._unpacked

    def merge(self, other: Histogram) -> None:
        """Add the counts of `other`."""
        packed = other.packed
        if packed is None:
            super().merge(other)
            return
        self._packed += packed
        self._bound()

    def add(self, packed: bytes) -> None:
        """Add packed counts."""
        self._packed.append(packed)
        self._bound()

    def _bound(self) -> None:
        if len(self._packed) > PACKED_MAX:
            _ = self.buckets

    @property
    def packed(self) -> list[bytes] | None:
        """The packed parts, None once the histogram is unpacked."""
        return self._packed if self._unpacked is None else None


def _unpack(packed: bytes, buckets: defaultdict[int, int]) -> None:
    """Add packed counts to `buckets`. Equal pairs of key and count are multiplied first."""
    pairs = array("I", packed)
    if sys.byteorder == "big":
        pairs.byteswap()
    for pair, times in Counter(pairs).items():
        buckets[pair & 0xFFFF] += (pair >> 16) * times
