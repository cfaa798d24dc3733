"""The recording methods that the benchmark `recording` compares, timed in one process.

``python -m benchmarks.recording_methods ROUNDS COUNT`` prints for each method and round the CPU and
wall seconds of COUNT operations.
"""

import json
import sys
from collections.abc import Callable

from hdrh.histogram import HdrHistogram
from locust.stats import RequestStats

from amoc_gevent import clock
from amoc_gevent.metrics import recorder
from benchmarks.values import Values, values_of

NAME = "GET /"


def ours(values: Values) -> None:
    """Record count, latency and first byte of each operation, like http.Session."""
    for total_us, first_us, _ in values:
        recorder.operation(NAME, total_us, None, first_us)
    recorder.take()


def with_lag(values: Values) -> None:
    """Record the same, and the lag in reading the answer."""
    for total_us, first_us, lag_us in values:
        recorder.operation(NAME, total_us, None, first_us)
        recorder.lag(lag_us)
    recorder.take()


def hdrhistogram(values: Values) -> None:
    """Record latency and first byte in histograms by operation name."""
    histograms = {NAME: [HdrHistogram(1, 3_600_000_000, 3) for _ in range(2)]}
    for total_us, first_us, _ in values:
        latency, first_byte = histograms[NAME]
        latency.record_value(total_us)
        first_byte.record_value(first_us)


def locust(values: Values) -> None:
    """Record only the latency, as Locust does."""
    stats = RequestStats()
    for total_us, _, _ in values:
        stats.log_request("GET", NAME, total_us / 1000, 35)


METHODS: dict[str, Callable[[Values], None]] = {
    "amoc": ours,
    "amoc, with the lag": with_lag,
    "hdrhistogram": hdrhistogram,
    "Locust": locust,
}


def main() -> None:
    """Time all methods in turn, in each round."""
    rounds, count = map(int, sys.argv[1:3])
    values = values_of(count)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in METHODS}
    for _ in range(rounds):
        for name, record in METHODS.items():
            cpu, wall = clock.cpu_ns(), clock.monotonic_ns()
            record(values)
            cpu, wall = clock.cpu_ns() - cpu, clock.monotonic_ns() - wall
            taken[name].append((cpu / 1e9, wall / 1e9))
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
