"""The benchmark `http`: CPU time per request to nginx, compared with Locust and Tsung."""

import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from amoc_gevent import clock
from amoc_gevent.errors import AmocError
from benchmarks.generators import Generator, Load, amoc, locust, tsung
from benchmarks.machine import answer, package, program
from benchmarks.servers.nginx import Nginx
from benchmarks.table import Table, at_least, ratio, spread

USERS = 50
WARM_REQUESTS = 1000
FASTEST = 60_000  # requests a second, to bound the load of Tsung, which cannot be stopped early


@dataclass(frozen=True)
class Window:
    """The figures between two instants of a steady load. `miscounted` is our count less nginx's."""

    cpu_s: float
    wall_s: float
    requests: int
    miscounted: int

    @property
    def cpu_us(self) -> float:
        """CPU time of the generator per request (µs)."""
        return self.cpu_s / self.requests * 1e6

    @property
    def per_cpu_second(self) -> float:
        """Requests per second of CPU time."""
        return self.requests / self.cpu_s


def run(quick: bool) -> Table:
    """Measure all generators in turn, with ours next to the ones it is compared with."""
    rounds, warm_s, window_s = (3, 0.3, 0.7) if quick else (7, 1.0, 2.0)
    ours = amoc("amoc http.Session", "Session")
    unlike = amoc("  no two heads alike", "Session")
    wrapped = amoc("amoc http.RequestsSession", "RequestsSession")
    fast, plain = locust("Locust FastHttpUser", "Fast"), locust("Locust HttpUser", "Plain")
    erlang = tsung("Tsung")
    taken: dict[str, list[Window]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as home, Nginx(Path(home)) as nginx:
        for _ in range(rounds):
            for generator in (unlike, fast, ours, erlang, wrapped, plain):
                url = nginx.unlike if generator is unlike else nginx.url
                taken[generator.name].append(_measure(generator, nginx, url, warm_s, window_s))
    table = Table(_title(), _notes(rounds, window_s), COLUMNS)
    _add(table, ours, taken)
    _add(table, fast, taken, ours, 5)
    _add(table, erlang, taken, ours, 1.3)
    _add(table, unlike, taken)
    _add(table, wrapped, taken)
    _add(table, plain, taken, wrapped, 1)
    return table


COLUMNS = (
    "generator",
    "CPU µs/request",
    "CPU s",
    "wall s",
    "requests/s",
    "requests/CPU s",
    "own - nginx's",
    "ours / peer's",
    "bar",
)


def _measure(
    generator: Generator, nginx: Nginx, url: str, warm_s: float, window_s: float
) -> Window:
    expected = int(FASTEST * (warm_s + window_s))
    load = Load(USERS, url, expected=expected)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        before = nginx.requests()
        with generator.start(load, directory) as child:
            child.until(lambda: nginx.requests() - before >= WARM_REQUESTS, "warm")
            time.sleep(warm_s)
            first = child.cpu(), clock.monotonic(), nginx.requests()
            time.sleep(window_s)
            last = child.cpu(), clock.monotonic(), nginx.requests()
            outcome = generator.end(child, directory)
        if outcome.failed:
            raise AmocError(f"{generator.name}: {outcome.failed} of {outcome.requests} failed")
        cpu_s, wall_s, requests = (b - a for a, b in zip(first, last, strict=True))
        served = nginx.requests() - before
        return Window(cpu_s, wall_s, int(requests), outcome.requests - served)


def _add(
    table: Table,
    generator: Generator,
    taken: dict[str, list[Window]],
    ours: Generator | None = None,
    bar: float = 0,
) -> None:
    windows = taken[generator.name]
    verdict = ["", ""]
    if ours is not None:
        mine = [window.per_cpu_second for window in taken[ours.name]]
        times = ratio(mine, [window.per_cpu_second for window in windows])
        verdict = [f"{times:.2f}", at_least(times, bar)]
    table.add(
        generator.name,
        spread([window.cpu_us for window in windows]),
        f"{median(window.cpu_s for window in windows):.2f}",
        f"{median(window.wall_s for window in windows):.2f}",
        f"{median(window.requests / window.wall_s for window in windows):,.0f}",
        f"{median(window.per_cpu_second for window in windows):,.0f}",
        str(max((window.miscounted for window in windows), key=abs)),
        *verdict,
    )


def _title() -> str:
    return f"http: {USERS} users, keep-alive GETs of a 35-byte body from nginx, one process each"


def _notes(rounds: int, window_s: float) -> list[str]:
    nginx = answer(program("nginx", "nginx-light"), "-v").removeprefix("nginx version: ")
    versions = [package("locust"), answer(program("tsung", "tsung"), "-v"), nginx]
    return [
        ", ".join(versions),
        f"median (least-greatest) of {rounds} rounds in turn, {window_s:g} s each after warm-up;",
        "CPU: user and system time of the generator with its helper processes (ours: master, node",
        "and worker); no think time, 100 requests a round on one connection per user.",
        "Within a second all heads from nginx are equal, and amoc parses such a head once. If all",
        "heads differ (X-Request-Id), it parses each one, with httptools.",
        "Own - nginx's: difference of the request counts of generator and nginx in the whole run.",
        "amoc records total, first byte and lag from kernel timestamps, to 0.1 %. Locust records",
        "the total by its own clock, to two digits; Tsung mean, variance, minimum and maximum.",
    ]
