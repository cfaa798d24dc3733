"""The CPU work of all users of the benchmark `saturation` between two requests."""

from amoc_gevent import clock

SAMPLE = 200_000


def work(turns: int) -> None:
    """Keep the core busy for a number of turns."""
    for _ in range(turns):
        pass


def turns_in(cpu_us: float) -> int:
    """Return the number of turns that take `cpu_us` µs of CPU time on this machine."""
    samples = []
    for _ in range(7):
        began = clock.cpu_ns()
        work(SAMPLE)
        samples.append(clock.cpu_ns() - began)
    return round(SAMPLE * cpu_us * 1000 / min(samples))
