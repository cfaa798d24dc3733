"""Counters, gauges, histograms and timed operations, as a scenario and the clients record them.

Everything lands in the `Recorder` of this process; the worker takes its snapshot once a second.
Recording is plain attribute and dict work in one thread: no lock, no I/O, no log call.
"""

from collections.abc import Callable
from math import isfinite
from operator import index
from types import TracebackType
from typing import Self, TypeVar

from gevent import GreenletExit

from amoc_gevent import clock
from amoc_gevent.core.measure.deliveries import counters
from amoc_gevent.core.measure.histogram import Histogram
from amoc_gevent.core.measure.snapshot import Gauge, Snapshot
from amoc_gevent.errors import UsageError


class Recorder:
    """Where operations are recorded; `take` hands over what came in since the last call.

    `takes` counts the calls: whoever keeps a part of `snapshot` knows by it when that is another.
    """

    __slots__ = ("_gauges", "snapshot", "takes")

    def __init__(self) -> None:
        self.takes = 0
        self.snapshot = Snapshot()
        self._gauges: dict[str, Gauge] = {}

    def operation(
        self,
        name: str,
        latency_us: int,
        error: str | None = None,
        first_byte_us: int = -1,
    ) -> None:
        """Record one finished operation: its latency (µs), the kind of its error if it failed.

        `first_byte_us` is recorded as the phase `first_byte` where it is not negative.
        """
        try:
            operation = self.snapshot.operations[name]
        except KeyError:
            operation = self.snapshot.operation(name)
        operation.count += 1
        # Histogram.record written out: the call would cost as much as what it does.
        us = latency_us if latency_us > 0 else 0
        shift = us.bit_length() - 10
        operation.latency.buckets[us if shift <= 0 else (shift << 9) + (us >> shift)] += 1
        if first_byte_us >= 0:
            try:
                phase = operation.phases["first_byte"]
            except KeyError:
                phase = operation.phase("first_byte")
            shift = first_byte_us.bit_length() - 10
            key = first_byte_us if shift <= 0 else (shift << 9) + (first_byte_us >> shift)
            phase.buckets[key] += 1
        if error is not None:
            operation.fail(error)

    def phase(self, name: str, phase: str, us: int) -> None:
        """Record how long one part of operation `name` took, in µs."""
        self.snapshot.operation(name).phase(phase).record(us)

    def interrupted(self, name: str) -> None:
        """Count an operation that a forced stop cut; it is in no other figure."""
        self.snapshot.operation(name).interrupted += 1

    def lag(self, us: int) -> None:
        """Record how long (µs) arrived bytes waited for this process to pick them up."""
        shift = us.bit_length() - 10
        if us < 0 or shift <= 0:
            self.snapshot.lag.buckets[us if us > 0 else 0] += 1
        else:
            self.snapshot.lag.buckets[(shift << 9) + (us >> shift)] += 1

    def set_gauge(self, name: str, value: float, unit: str) -> None:
        """Set a level, which stays until it is set again."""
        self._gauges[name] = Gauge(value, unit)

    def take(self) -> Snapshot:
        """Return what was recorded since the last call, with the present level of each gauge."""
        taken, self.snapshot = self.snapshot, Snapshot()
        self.takes += 1
        if taken.flows:
            for name, times in counters(taken.flows.values()).items():
                taken.counters[name] = taken.counters.get(name, 0) + times
        taken.gauges = {n: Gauge(g.value, g.unit) for n, g in self._gauges.items()}
        return taken

    def reset(self) -> None:
        """Forget everything."""
        self._gauges.clear()
        self.take()


recorder = Recorder()
"""The recorder of this process."""


VALUE_MAX = 2**63 - 1
"""The highest value of a histogram; what is above counts as this."""

COUNT_MAX = 2**53
"""The most that a counter takes at once: a figure up to which every reader of JSON is exact."""


class Counter:
    """A sum that only grows, over all users, workers and nodes."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def add(self, n: int = 1) -> None:
        """Add `n`, a whole number (≥ 0)."""
        try:
            n = index(n)
        except TypeError:
            raise UsageError(f"counter {self.name!r} cannot count {n!r}: whole numbers") from None
        if not 0 <= n <= COUNT_MAX:
            if n < 0:
                raise UsageError(f"counter {self.name!r} cannot shrink by {-n}; a gauge can")
            raise UsageError(f"counter {self.name!r} cannot count {n}: at most 2^53 at once")
        counters = recorder.snapshot.counters
        counters[self.name] = counters.get(self.name, 0) + n


class LevelGauge:
    """A level of this worker; the levels of all workers are added up."""

    __slots__ = ("_value", "name", "unit")

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit
        self._value = 0.0

    def set(self, value: float) -> None:
        """Set the level, a finite number."""
        if not isfinite(value):
            raise UsageError(f"gauge {self.name!r} cannot be {value}: it needs a finite number")
        self._value = float(value)  # a bool and a Decimal are numbers too
        recorder.set_gauge(self.name, self._value, self.unit)

    def add(self, delta: float) -> None:
        """Raise (or, with a negative `delta`, lower) the level."""
        self.set(self._value + delta)


class ValueHistogram:
    """A distribution of values, kept to 0.1 % as integers: choose a unit in which 1 is small."""

    __slots__ = ("name", "unit")

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit

    def record(self, value: float) -> None:
        """Record one value (≥ 0, rounded to an integer, at most 2^63 - 1)."""
        found = recorder.snapshot.histograms.get(self.name)
        if found is None:
            found = recorder.snapshot.histograms[self.name] = (self.unit, Histogram())
        found[1].record(min(index(round(value)), VALUE_MAX))


_observer: Callable[[str, int, str | None], None] | None = None


def observe(callback: Callable[[str, int, str | None], None] | None) -> None:
    """Have `callback(name, us, error)` called for operations other than HTTP's; None ends it."""
    global _observer  # noqa: PLW0603  # there is one recorder in a process, and one who watches it
    _observer = callback


def finished(name: str, us: int, error: str | None) -> None:
    """Record an operation that took `us` µs, `error` being the kind of its error, if any."""
    recorder.operation(name, us, error)
    if _observer is not None:
        _observer(str(name), us, error)


class operation:  # noqa: N801  # used as a verb: `with metrics.operation("search"):`
    """Time the block as one operation; an exception in it is an error of its type, and goes on.

    >>> with metrics.operation("checkout") as op:
    ...     if not buy():
    ...         op.fail("sold out")
    """

    __slots__ = ("_error", "_started", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._error: str | None = None

    def fail(self, reason: str) -> None:
        """Count this operation as an error of kind `reason`."""
        self._error = str(reason)

    def __enter__(self) -> Self:
        self._started = clock.monotonic_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is GreenletExit:  # a forced stop; that of the watchdog is a subclass, and an error
            recorder.interrupted(self.name)
            return
        reason = kind.__name__ if kind is not None else self._error
        finished(self.name, (clock.monotonic_ns() - self._started) // 1000, reason)


_made: dict[str, Counter | LevelGauge | ValueHistogram] = {}


_Metric = TypeVar("_Metric", Counter, LevelGauge, ValueHistogram)


def _once(made: _Metric) -> _Metric:
    known = _made.setdefault(made.name, made)
    if type(known) is not type(made):
        raise UsageError(f"metric {made.name!r} is already a {type(known).__name__}")
    asked, unit = getattr(made, "unit", ""), getattr(known, "unit", "")
    if asked not in {"", unit}:
        raise UsageError(f"metric {made.name!r} is already in {unit or 'no unit'}, not {asked}")
    return known


def counter(name: str) -> Counter:
    """Return the counter of this name."""
    return _once(Counter(str(name)))


def gauge(name: str, unit: str = "") -> LevelGauge:
    """Return the gauge of this name; the levels of all workers are added up."""
    return _once(LevelGauge(str(name), str(unit)))


def histogram(name: str, unit: str) -> ValueHistogram:
    """Return the histogram of this name; `unit` is a label, such as "us" or "bytes"."""
    return _once(ValueHistogram(str(name), str(unit)))
