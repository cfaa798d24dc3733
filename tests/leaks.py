"""What a test must give back: descriptors and greenlets, counted before and after."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import psutil
from greenlet import getcurrent, greenlet

from amoc_gevent import clock
from tests.servers import wait_for

SETTLE = 5.0


def held() -> tuple[int, int]:
    """How many descriptors this process has, and how many greenlets are alive in this thread."""
    gc.collect()
    ours = _root(getcurrent())
    greenlets = [one for one in gc.get_objects() if isinstance(one, greenlet) and not one.dead]
    alive = sum(_root(one) is ours for one in greenlets)
    return sum(1 for _ in Path("/proc/self/fd").iterdir()), alive


def _root(one: greenlet) -> greenlet:
    """The first greenlet of its thread; gevent's pool keeps threads for some seconds."""
    while one.parent is not None:
        one = one.parent
    return one


@contextmanager
def counting_from_now() -> Iterator[None]:
    """Make counting cheap while the block runs: what is there now is not looked at again."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def nothing_leaks() -> Iterator[None]:
    """Fail if there are more descriptors or greenlets after the block than before."""
    before = _settled()
    yield
    now = before

    def given_back() -> bool:
        nonlocal now
        gevent.sleep(0)
        now = held()
        return all(after <= then for after, then in zip(now, before, strict=True))

    try:
        wait_for(given_back, SETTLE)
    except AssertionError:
        raise AssertionError(f"descriptors and greenlets: {before} before, {now} after") from None


def connections_to(port: int | None) -> int:
    """How many connections to a port of loopback this process has, closed by the peer or not."""
    return sum(
        bool(each.raddr) and each.raddr.port == port
        for each in psutil.Process().net_connections("tcp")
    )


def _settled() -> tuple[int, int]:
    """What is held once what an earlier test has let go is gone."""
    least, deadline, same = held(), clock.monotonic() + SETTLE, 0
    while same < 3 and clock.monotonic() < deadline:
        gevent.sleep(0.005)
        now = held()
        same = same + 1 if now == least else 0
        least = now
    return least
