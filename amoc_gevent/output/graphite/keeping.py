"""The intervals and annotations that a master leaves to the next, in the run store.

They are stored in the transaction that stores the figures in them. So whenever a master dies, the
next one has each interval whole that it may still have to send, whichever runs are in it.
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
    """Intervals before `begin` are settled; from `waiting` on they were not handed to carbon."""

    begin: int
    waiting: int | None


class Kept(NamedTuple):
    """An interval that an earlier master left, and of how many seconds it is."""

    seconds: int
    interval: Interval


class Leftover:
    """What an earlier master left; what of it cannot be read is logged and left out."""

    def __init__(self, stored: Mapping[str, bytes]) -> None:
        self._stored = stored
        self.mark = self._read(MARK, lambda data: codec.decode(Mark, data))
        self.annotations: list[Annotation] = self._read(ANNOTATIONS, json.loads) or []

    def intervals(self) -> Iterator[Kept]:
        """Yield the intervals in their order, each made of all its parts."""
        parts = sorted(map(_Part.of, filter(_is_part, self._stored)))
        for (start, seconds), group in groupby(parts, lambda part: (part.start, part.seconds)):
            whole = Interval(start)
            for part in group:
                found = self._read(part.key, lambda data: codec.decode(Interval, data))
                if found is not None:
                    whole.merge(found)
            yield Kept(seconds, whole)

    def _read(self, key: str, decode: Callable[[bytes], T]) -> T | None:
        try:
            return decode(self._stored[key]) if key in self._stored else None
        except ValueError as error:
            log.warning("Graphite lacks what an earlier master left as %s: %s", key, error)
            return None


class _Part(NamedTuple):
    """Where a part of an interval is stored; `number` orders those of the same interval."""

    start: int
    seconds: int
    number: int

    @classmethod
    def of(cls, key: str) -> "_Part":
        """Return what a key says."""
        _, seconds, start, number = key.split("/")
        return cls(int(start), int(seconds), int(number))

    @property
    def key(self) -> str:
        """What it is stored under."""
        return f"{INTERVAL}/{self.seconds}/{self.start}/{self.number}"


def _is_part(key: str) -> bool:
    return key.startswith(f"{INTERVAL}/")


class Keeping:
    """Tells the run store what changed; `stored` are the keys that are there already."""

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
        self._anew = False
        intervals.keeps = True

    def pending(self, *, anew: bool = False) -> StateChanges:
        """Return what is to be stored, and what is not needed any more.

        `anew`: return all that is to be stored, as nothing is.
        """
        seconds, number, begin = self._intervals.seconds, self._number + 1, self._begin()
        stored, small = (set[_Part](), dict[str, bytes]()) if anew else (self._parts, self._small)
        put = {
            _Part(part.start, seconds, number).key: codec.encode(part)
            for part in (self._intervals.all() if anew else self._intervals.unkept())
            if part.start >= begin
        }
        put |= {key: data for key, data in self._now().items() if small.get(key) != data}
        drop = [part.key for part in stored if part.start < begin]
        if self._events is None and ANNOTATIONS in small:
            drop.append(ANNOTATIONS)
        self._returned, self._anew = StateChanges(put, drop), anew
        return self._returned

    def stored(self) -> None:
        """Note that all this is stored."""
        put, drop = self._returned
        if self._anew:
            self._parts, self._small = set(), {}
        for key in drop:
            self._small.pop(key, None)
        self._parts -= {*map(_Part.of, filter(_is_part, drop))}
        self._parts |= {*map(_Part.of, filter(_is_part, put))}
        self._small |= {key: data for key, data in put.items() if not _is_part(key)}
        self._number += 1
        self._intervals.kept()

    def _begin(self) -> int:
        """Return from where on intervals can change, or be sent again."""
        unsure = self._carbon.oldest()
        begin = self._intervals.begin
        return begin if unsure is None else min(begin, unsure)

    def _now(self) -> dict[str, bytes]:
        """Return the mark and the annotations as they are now."""
        waiting = [self._carbon.oldest_waiting(), self._intervals.oldest_changed()]
        mark = Mark(self._begin(), min((one for one in waiting if one is not None), default=None))
        found = {MARK: codec.encode(mark)}
        if self._events is not None:
            found[ANNOTATIONS] = json.dumps(self._events.waiting).encode()
        return found
