"""Turns an interval into points, under the metric names of amoc."""

from collections.abc import Iterator
from math import isfinite
from typing import NamedTuple

from amoc_gevent.core.measure.histogram import Histogram
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.output.graphite.intervals import (
    Interval,
    IntervalOperation,
    Intervals,
    NodeFigures,
)

PERCENTILES = {"median": 0.5, "95": 0.95, "99": 0.99, "999": 0.999}
IDLE = IntervalOperation()

Values = Iterator[tuple[str, float]]


class Point(NamedTuple):
    """One value of one metric; `time` is the start of its interval, in seconds since 1970."""

    path: str
    value: float
    time: int


def points_of(interval: Interval, among: Intervals) -> list[Point]:
    """Return the points of `interval`, one of `among`; docs/graphite.md describes them."""
    parts = {
        "users": _users(interval),
        "operations": _operations(interval, among),
        "counters": _counters(interval, among),
        "histograms": _histograms(interval),
        "gauges": iter(interval.gauges.items()),
        "nodes": _nodes(interval),
    }
    return [
        Point(f"amoc.{kind}.{path}", value, interval.start)
        for kind, values in parts.items()
        for path, value in values
        if isfinite(value)
    ]


def _users(interval: Interval) -> Values:
    yield "size", interval.users.present
    for state in UserCounts.__slots__:
        yield state, getattr(interval.users, state)
    for what in ("started", "iterations", "failed"):
        yield what, getattr(interval, what)


def _operations(interval: Interval, among: Intervals) -> Values:
    for name in dict.fromkeys((*among.names("operations"), *interval.operations)):
        one = interval.operations.get(name, IDLE)
        yield f"{name}.count", one.count
        yield f"{name}.rate", one.count / among.seconds
        yield f"{name}.errors", one.errors
        yield f"{name}.interrupted", one.interrupted
        yield from _distribution(name, one.latency)


def _counters(interval: Interval, among: Intervals) -> Values:
    for name in dict.fromkeys((*among.names("counters"), *interval.counters)):
        yield f"{name}.count", interval.counters.get(name, 0)
        yield f"{name}.one", among.last_minute(interval, name)


def _histograms(interval: Interval) -> Values:
    for name, histogram in interval.histograms.items():
        yield f"{name}.count", histogram.count
        yield from _distribution(name, histogram)


def _nodes(interval: Interval) -> Values:
    for name, node in interval.nodes.items():
        yield from ((f"{name}.{what}", value) for what, value in _health(node))


def _health(node: NodeFigures) -> Values:
    yield "cpu", node.cpu
    yield "lag", node.lag_us
    yield "memory", sum(node.memory.values())
    yield "descriptors", node.descriptors
    yield "workers", len(node.memory)
    yield "overloaded", len(node.overloaded)


def _distribution(name: str, histogram: Histogram) -> Values:
    """Yield min, mean, percentiles and max; nothing for an empty histogram."""
    if histogram.buckets:
        yield f"{name}.min", histogram.min
        yield f"{name}.mean", histogram.mean
        values = histogram.percentiles(PERCENTILES.values())
        yield from ((f"{name}.{p}", value) for p, value in zip(PERCENTILES, values, strict=True))
        yield f"{name}.max", histogram.max
