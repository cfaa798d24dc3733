"""The timer for all waits: deadlines that move, pass or are withdrawn."""

import socket

import gevent
import pytest

from amoc_gevent import clock
from amoc_gevent.transport.waiting import NEVER, Deadlines, Waiter, deadlines


class FakeTimer:
    def __init__(self, loop, delay):
        self.loop, self.delay = loop, delay

    def start(self, callback, update=False):
        self.loop.callback = callback
        self.loop.running = self

    def stop(self):
        self.loop.running = None

    def close(self):
        pass


class FakeLoop:
    """Keeps the one timer that is set."""

    running = callback = None
    timers = 0

    def timer(self, delay, ref=True):
        assert not ref, "the timer alone must not keep the loop alive"
        self.timers += 1
        return FakeTimer(self, delay)


class FakeWaiter:
    def __init__(self, deadline):
        self.deadline = deadline
        self.check_at = NEVER
        self.expired = 0

    def expire(self):
        self.expired += 1


@pytest.fixture
def now(monkeypatch):
    time = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])
    return time


def test_a_waiter_expires_at_its_deadline_within_a_tick(now):
    loop, waiter = FakeLoop(), FakeWaiter(1002.345)
    Deadlines(loop).add(waiter)
    assert 2.345 <= loop.running.delay <= 2.356
    now[0] = 1002.344
    loop.callback()
    assert waiter.expired == 0
    now[0] += loop.running.delay
    loop.callback()
    assert waiter.expired == 1
    assert loop.running is None


def test_a_later_deadline_is_checked_again_when_it_is_due(now):
    loop, waiter = FakeLoop(), FakeWaiter(1001.0)
    Deadlines(loop).add(waiter)
    waiter.deadline = 1060.0
    now[0] = 1001.02
    loop.callback()
    assert waiter.expired == 0
    assert loop.running.delay == pytest.approx(58.98, abs=0.02)
    now[0] = 1060.02
    loop.callback()
    assert waiter.expired == 1


def test_a_waiter_without_a_deadline_is_removed(now):
    loop, waiter = FakeLoop(), FakeWaiter(1001.0)
    Deadlines(loop).add(waiter)
    waiter.deadline = NEVER
    now[0] = 1001.02
    loop.callback()
    assert (waiter.expired, waiter.check_at, loop.running) == (0, NEVER, None)


def test_only_an_earlier_deadline_sets_the_timer_again(now):
    loop = FakeLoop()
    timer = Deadlines(loop)
    timer.add(FakeWaiter(1060.0))
    timer.add(FakeWaiter(1070.0))
    assert loop.timers == 1
    timer.add(FakeWaiter(1005.0))
    assert loop.running.delay == pytest.approx(5.0, abs=0.02)


def test_a_removed_waiter_does_not_expire(now):
    loop = FakeLoop()
    timer = Deadlines(loop)
    kept, gone = FakeWaiter(1001.0), FakeWaiter(1001.0)
    timer.add(kept)
    timer.add(gone)
    timer.remove(gone)
    now[0] = 1001.02
    loop.callback()
    assert (kept.expired, gone.expired) == (1, 0)


def test_a_woken_waiter_can_move_the_deadline_of_the_next(now):
    loop = FakeLoop()
    timer = Deadlines(loop)
    first, second = FakeWaiter(1001.0), FakeWaiter(1001.0)

    def takes_back(other):
        other.deadline = 1005.0

    first.expire = lambda: takes_back(second)
    second.expire = lambda: takes_back(first)
    woken = []
    for waiter in (first, second):
        timer.add(waiter)
        waiter.expire = lambda w=waiter, e=waiter.expire: (woken.append(w), e())
    now[0] = 1001.02
    loop.callback()
    assert len(woken) == 1


def test_a_hundred_thousand_operations_set_one_timer(monkeypatch):
    ours, theirs = socket.socketpair()
    waiter = Waiter(ours.fileno())
    timer = deadlines()
    set_timers = []
    monkeypatch.setattr(timer, "_schedule", lambda: set_timers.append(1))
    for n in range(100_000):
        waiter.arm(clock.monotonic() + 3600 + n)
    assert len(set_timers) <= 1
    waiter.close()
    ours.close()
    theirs.close()


def test_a_stray_switch_does_not_end_a_wait():
    ours, theirs = socket.socketpair()
    waiter = Waiter(ours.fileno())
    waiter.watch()
    returned = []

    def waits():
        waiter.readable()
        returned.append("stray")
        waiter.readable()
        returned.append("data")

    waiting = gevent.spawn(waits)
    gevent.idle()
    gevent.get_hub().loop.run_callback(waiting.switch)
    gevent.idle()
    assert returned == ["stray"]
    theirs.send(b"x")
    waiting.join(5)
    assert returned == ["stray", "data"]
    waiter.close()
    ours.close()
    theirs.close()
