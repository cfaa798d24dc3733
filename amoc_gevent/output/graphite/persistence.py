"""Stores unsent intervals and annotations in the run store, for the next master.

They are stored in the same transaction as the figures in them. So whenever a master dies, the next
one finds every interval that it may have to send, whole, even if it spans several runs.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, TypeVar

from amoc_gevent.core import codec
from amoc_gevent.core.output_state import StateChanges
from amoc_gevent.output.graphite.annotations import Annotation, EventsSender
from amoc_gevent.output.graphite.carbon import Carbon
from amoc_gevent.output.graphite.intervals import Interval, Intervals

log = logging.getLogger(__name__)

T = TypeVar("T")

INTERVAL, MARK, ANNOTATIONS = "interval", "mark", "annotations"


@dataclass(frozen=True, slots=True)
class Mark:
    """Intervals before `begin` are final; those from `waiting` on were not sent to carbon."""

    begin: int
    waiting: int | None


class StoredInterval(NamedTuple):
    """An interval of an earlier master, and its length in seconds."""

    seconds: int
    interval: Interval


class StoredIntervals:
    """The stored data of an earlier master. Unreadable entries are logged and skipped."""

    def __init__(self, stored: Mapping[str, bytes]) -> None:
        self._stored = stored
        self.mark = self._read(MARK, lambda data: codec.decode(Mark, data))
        self.annotations: list[Annotation] = self._read(ANNOTATIONS, json.loads) or []

    def intervals(self) -> Iterator[StoredInterval]:
        """Yield the intervals in order, each merged from its stored parts."""
        parts = sorted(map(_Part.of, filter(_is_part, self._stored)))
        for (start, seconds), group in groupby(parts, lambda part: (part.start, part.seconds)):
            whole = Interval(start)
            for part in group:
                found = self._read(part.key, lambda data: codec.decode(Interval, data))
                if found is not None:
                    whole.merge(found)
            yield StoredInterval(seconds, whole)

    def _read(self, key: str, decode: Callable[[bytes], T]) -> T | None:
        try:
            return decode(self._stored[key]) if key in self._stored else None
        except ValueError as error:
            log.warning(
                "Graphite: %s of an earlier master cannot be read: %s",
                key,
                error,
            )
            return None


class _Part(NamedTuple):
    """The key of a stored part of an interval; `number` orders the parts of one interval."""

    start: int
    seconds: int
    number: int

    @classmethod
    def of(cls, key: str) -> "_Part":
        """Parse a key."""
        _, seconds, start, number = key.split("/")
        return cls(int(start), int(seconds), int(number))

    @property
    def key(self) -> str:
        """The key in the run store."""
        return f"{INTERVAL}/{self.seconds}/{self.start}/{self.number}"


def _is_part(key: str) -> bool:
    return key.startswith(f"{INTERVAL}/")


class ChangeTracker:
    """Tracks what has to be stored; `stored` is the content of the store at the beginning."""

    def __init__(
        self,
        intervals: Intervals,
        carbon: Carbon,
        events: EventsSender | None,
        stored: Mapping[str, bytes],
    ) -> None:
        self._intervals = intervals
        self._carbon = carbon
        self._events = events
        self._parts = {*map(_Part.of, filter(_is_part, stored))}
        self._number = max((part.number for part in self._parts), default=0)
        self._small = {key: stored[key] for key in (MARK, ANNOTATIONS) if key in stored}
        self._returned = StateChanges({}, ())
        self._returned_begin = 0
        self._full = False
        intervals.stores = True

    def pending(self, *, full: bool = False) -> StateChanges:
        """Return the entries to store and the keys to drop; with `full`, every entry."""
        seconds, number, begin = self._intervals.seconds, self._number + 1, self._begin()
        stored, small = (set[_Part](), dict[str, bytes]()) if full else (self._parts, self._small)
        put = {
            _Part(part.start, seconds, number).key: codec.encode(part)
            for part in (self._intervals.all() if full else self._intervals.unstored())
            if part.start >= begin
        }
        put |= {key: data for key, data in self._now().items() if small.get(key) != data}
        drop = [part.key for part in stored if part.start < begin]
        if self._events is None and ANNOTATIONS in small:
            drop.append(ANNOTATIONS)
        self._returned, self._full, self._returned_begin = StateChanges(put, drop), full, begin
        return self._returned

    def stored(self) -> None:
        """Note that the pending changes are stored."""
        put, drop = self._returned
        if self._full:
            self._parts, self._small = set(), {}
        for key in drop:
            self._small.pop(key, None)
        self._parts -= {*map(_Part.of, filter(_is_part, drop))}
        self._parts |= {*map(_Part.of, filter(_is_part, put))}
        self._small |= {key: data for key, data in put.items() if not _is_part(key)}
        self._number += 1
        self._intervals.mark_stored()
        # The next master will not send what is earlier, so no late report may go there now.
        self._intervals.close(self._returned_begin)

    def _begin(self) -> int:
        """Return the start of the earliest interval that can change or be sent again."""
        unsure = self._carbon.oldest()
        begin = self._intervals.begin
        return begin if unsure is None else min(begin, unsure)

    def _now(self) -> dict[str, bytes]:
        """Return the current mark and annotations, encoded."""
        waiting = [self._carbon.oldest_waiting(), self._intervals.oldest_changed()]
        mark = Mark(self._begin(), min((one for one in waiting if one is not None), default=None))
        found = {MARK: codec.encode(mark)}
        if self._events is not None:
            found[ANNOTATIONS] = json.dumps(self._events.waiting).encode()
        return found
