"""A set of integer ids, stored as disjoint closed intervals because ids come in stretches."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class IdSet:
    """Ids as sorted, disjoint, non-adjacent intervals. A million consecutive ids take one pair."""

    __slots__ = ("_firsts", "_lasts", "_size")

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._size = 0
        for first, last in intervals:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> None:
        """Add the ids from `first` to `last` inclusive, or only `first` without `last`."""
        if last is None:
            last = first
        if last < first:
            return
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        for at in range(low, high):
            self._size -= self._lasts[at] - self._firsts[at] + 1
        self._size += last - first + 1
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def add_range(self, ids: range) -> None:
        """Add `ids`, a range with a positive step."""
        if ids.step == 1 and ids:
            self.add(ids[0], ids[-1])
        elif ids:
            for user_id in ids:
                self.add(user_id)

    def __contains__(self, user_id: int) -> bool:
        at = bisect_left(self._lasts, user_id)
        return at < len(self._firsts) and self._firsts[at] <= user_id

    def interval_end(self, user_id: int) -> int | None:
        """Return the last id of the interval with `user_id`, None if it is in none."""
        at = bisect_left(self._lasts, user_id)
        return self._lasts[at] if user_id in self else None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Iterate over the intervals, ascending, as (first, last)."""
        return zip(self._firsts, self._lasts, strict=True)

    def count_in(self, ids: range) -> int:
        """Return how many of `ids` (a range with a positive step) are in the set."""
        if not ids:
            return 0
        found = 0
        at = bisect_left(self._lasts, ids[0])
        while at < len(self._firsts) and self._firsts[at] <= ids[-1]:
            low = max(0, -((ids[0] - self._firsts[at]) // ids.step))
            high = min(len(ids) - 1, (self._lasts[at] - ids[0]) // ids.step)
            found += max(0, high - low + 1)
            at += 1
        return found

    def gaps_down(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield the intervals between `first` and `last` that are not in the set, highest first."""
        at = bisect_right(self._firsts, last) - 1
        while last >= first:
            if at < 0 or self._lasts[at] < first:
                yield first, last
                return
            if self._lasts[at] < last:
                yield max(first, self._lasts[at] + 1), last
            last = self._firsts[at] - 1
            at -= 1
