"""Counters, gauges, histograms and timed operations of scenarios and clients.

All of them go into this process's `Recorder`. The worker takes a snapshot of it once a second.
Recording only sets attributes and dict entries, in one thread: no lock, no I/O, no log call.
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
from amoc_gevent.user import UserLeaving, check_load


class Recorder:
    """The metrics of this process. `take` returns those recorded since the previous call.

    `takes` counts the calls. Code that caches a part of `snapshot` compares it to notice a new one.
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
        """Record one finished operation: its latency (µs) and, if it failed, the error's kind.

        Record `first_byte_us` as the phase `first_byte` unless it is negative.
        """
        try:
            operation = self.snapshot.operations[name]
        except KeyError:
            operation = self.snapshot.operation(name)
        operation.count += 1
        # Histogram.record, inlined: the call would cost as much as the recording.
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
        """Count an operation that a forced stop ended. No other metric includes it."""
        self.snapshot.operation(name).interrupted += 1

    def lag(self, us: int) -> None:
        """Record how long (µs) arrived bytes waited for this process to pick them up."""
        shift = us.bit_length() - 10
        if us < 0 or shift <= 0:
            self.snapshot.lag.buckets[us if us > 0 else 0] += 1
        else:
            self.snapshot.lag.buckets[(shift << 9) + (us >> shift)] += 1

    def set_gauge(self, name: str, value: float, unit: str) -> None:
        """Set the level of a gauge. It keeps this level until the next call."""
        self._gauges[name] = Gauge(value, unit)

    def take(self) -> Snapshot:
        """Return the metrics since the previous call, with the current level of each gauge."""
        taken, self.snapshot = self.snapshot, Snapshot()
        self.takes += 1
        if taken.flows:
            for name, times in counters(taken.flows.values()).items():
                taken.counters[name] = taken.counters.get(name, 0) + times
        taken.gauges = {n: Gauge(g.value, g.unit) for n, g in self._gauges.items()}
        return taken

    def reset(self) -> None:
        """Discard all metrics."""
        self._gauges.clear()
        self.take()


recorder = Recorder()
"""The recorder of this process."""


VALUE_MAX = 2**63 - 1
"""The highest value of a histogram. Higher values are recorded as this one."""

COUNT_MAX = 2**53
"""The most that one call can add to a counter. Every JSON reader is exact up to this number."""


class Counter:
    """A sum over all users, workers and nodes. It only grows."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def add(self, n: int = 1) -> None:
        """Add `n`, an integer from 0 to 2^53. Raises UsageError for anything else."""
        try:
            n = index(n)
        except TypeError:
            raise UsageError(f"counter {self.name!r} cannot add {n!r}: it takes integers") from None
        if not 0 <= n <= COUNT_MAX:
            if n < 0:
                raise UsageError(f"counter {self.name!r} cannot decrease by {-n}: use a gauge")
            raise UsageError(f"counter {self.name!r} cannot add {n}: at most 2^53 at once")
        counters = recorder.snapshot.counters
        counters[self.name] = counters.get(self.name, 0) + n


class LevelGauge:
    """A level of this worker. The run's level is the sum over all workers."""

    __slots__ = ("_value", "name", "unit")

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit
        self._value = 0.0

    def set(self, value: float) -> None:
        """Set the level. Raises UsageError unless `value` is finite."""
        if not isfinite(value):
            raise UsageError(f"gauge {self.name!r} cannot be {value}: it takes finite numbers")
        self._value = float(value)  # also turns a bool or a Decimal into a float
        recorder.set_gauge(self.name, self._value, self.unit)

    def add(self, delta: float) -> None:
        """Raise the level by `delta`, or lower it if `delta` is negative."""
        self.set(self._value + delta)


class ValueHistogram:
    """A distribution of values, stored as integers to 0.1 %. Choose a unit in which 1 is small."""

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


def is_forced_stop(kind: type[BaseException]) -> bool:
    """Return whether an exception of this type is a forced stop: the greenlet was killed.

    The operation that it ends counts as interrupted, not as an error. So does one within which
    another was refused because the run's duration is over. The watchdog raises a subclass of
    GreenletExit in a user that blocks its worker; that one is an error.
    """
    return kind is GreenletExit or kind is UserLeaving


_observer: Callable[[str, int, str | None], None] | None = None


def observe(callback: Callable[[str, int, str | None], None] | None) -> None:
    """Call `callback(name, us, error)` after each operation except HTTP's. None stops it."""
    global _observer  # noqa: PLW0603  # a process has one recorder and one observer
    _observer = callback


def finished(name: str, us: int, error: str | None) -> None:
    """Record an operation of `us` µs. `error` is the kind of its error, None on success."""
    recorder.operation(name, us, error)
    if _observer is not None:
        _observer(str(name), us, error)


class operation:  # noqa: N801  # used as a verb: `with metrics.operation("search"):`
    """Time a `with` block as one operation.

    An exception counts as an error named after its type, and propagates.

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
        check_load()
        self._started = clock.monotonic_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and is_forced_stop(kind):
            recorder.interrupted(self.name)
            return
        reason = kind.__name__ if kind is not None else self._error
        finished(self.name, (clock.monotonic_ns() - self._started) // 1000, reason)


_metrics: dict[str, Counter | LevelGauge | ValueHistogram] = {}


_Metric = TypeVar("_Metric", Counter, LevelGauge, ValueHistogram)


def _shared(new: _Metric) -> _Metric:
    """Return the metric of this name, or register `new` as the first one."""
    known = _metrics.setdefault(new.name, new)
    if type(known) is not type(new):
        raise UsageError(f"metric {new.name!r} is already a {type(known).__name__}")
    asked, unit = getattr(new, "unit", ""), getattr(known, "unit", "")
    if asked not in {"", unit}:
        raise UsageError(f"metric {new.name!r} already has unit {unit or 'none'}, not {asked}")
    return known


def counter(name: str) -> Counter:
    """Return the counter of this name."""
    return _shared(Counter(str(name)))


def gauge(name: str, unit: str = "") -> LevelGauge:
    """Return the gauge of this name. The run's level is the sum over all workers."""
    return _shared(LevelGauge(str(name), str(unit)))


def histogram(name: str, unit: str) -> ValueHistogram:
    """Return the histogram of this name. `unit` is a label, such as "us" or "bytes"."""
    return _shared(ValueHistogram(str(name), str(unit)))
