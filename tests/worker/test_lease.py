"""A worker's lease: no user acts beyond it, even after the process was stopped or suspended."""

import os
import signal
from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event
from gevent.socket import socketpair

from amoc_gevent import clock, user
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.worker.lease import Lease
from tests.lasting import stand_still, turns
from tests.worker.crowd import Crowd, until

LEASE_S = 0.1
"""Tests stop the process for longer than this, so timers and sockets become due."""


class Leased(Crowd):
    """Users under a lease."""

    def __init__(self, start: Callable[[int], object], lasts: float = LEASE_S) -> None:
        super().__init__(start)
        self.ends = 0
        self.lease = Lease(clock.monotonic() + lasts, self.users, self._on_end)

    def _on_end(self) -> None:
        self.ends += 1
        self.users.fence()

    def until_all_run(self, count: int) -> None:
        """Add users, and wait until all are running."""
        self.add(count)
        self.until_counts(running=count)


@pytest.fixture
def lease_of() -> Iterator[Callable[..., Leased]]:
    """Make users under a lease, which is closed when the test ends."""
    made: list[Leased] = []

    def make(start: Callable[[int], object], lasts: float = LEASE_S) -> Leased:
        made.append(Leased(start, lasts))
        return made[-1]

    yield make
    for crowd in made:
        crowd.lease.close()


def test_users_run_while_the_lease_is_renewed(lease_of: Callable[..., Leased]) -> None:
    acts: list[int] = []

    def start(user_id: int) -> None:
        while True:
            gevent.sleep(0.01)
            acts.append(user_id)

    crowd = lease_of(start)
    crowd.until_all_run(3)
    first = clock.monotonic() + LEASE_S
    while clock.monotonic() < first + 2 * LEASE_S:
        crowd.lease.renew(clock.monotonic() + 60.0)
        gevent.sleep(0.01)
    assert (crowd.ends, crowd.counts.running, crowd.lease.over) == (0, 3, False)


def test_users_end_with_the_lease_which_cannot_be_renewed_then(
    lease_of: Callable[..., Leased],
) -> None:
    crowd = lease_of(lambda _: gevent.sleep(60))
    crowd.until_all_run(3)
    until(lambda: crowd.ends)
    assert crowd.counts == UserCounts()
    crowd.lease.renew(clock.monotonic() + 60.0)
    assert crowd.lease.over
    assert (crowd.ends, crowd.stopped, crowd.errors) == (1, 1, [])


def test_events_due_during_a_stop_of_the_process_reach_no_user(
    lease_of: Callable[..., Leased],
) -> None:
    """Neither sleeping, receiving, waiting and resting users nor helpers go on."""
    acts: list[int] = []
    ours, theirs = socketpair()

    def start(user_id: int) -> None:
        if user_id == 1:
            gevent.sleep(0.05)
        elif user_id == 2:
            ours.recv(1)
        elif user_id == 3:
            user.spawn(lambda: (gevent.sleep(0.05), acts.append(-user_id)))
            gevent.sleep(60)
        acts.append(user_id)

    with ours, theirs:
        crowd = lease_of(start)
        crowd.until_all_run(3)
        crowd.add(2, delay=0.05)
        theirs.send(b"x")
        stand_still(2 * LEASE_S)
        until(lambda: crowd.stopped)
        turns()
    assert (acts, crowd.ends) == ([], 1)
    assert crowd.recorder.snapshot.iterations == 0


def test_a_late_order_does_not_renew_the_lease(lease_of: Callable[..., Leased]) -> None:
    crowd = lease_of(lambda _: gevent.sleep(60))
    crowd.until_all_run(3)
    stand_still(2 * LEASE_S)
    crowd.lease.renew(clock.monotonic() + 60.0)
    until(lambda: crowd.ends)
    assert crowd.counts == UserCounts()


@pytest.mark.parametrize("lasts", [LEASE_S, 60.0])
def test_a_user_stopped_in_the_middle_of_a_turn_goes_no_further(
    lease_of: Callable[..., Leased], lasts: float
) -> None:
    """Nor do the users whose turn is next, unless the lease still lasts."""
    acts: list[int] = []

    def start(user_id: int) -> None:
        gevent.sleep(0.02)
        if not stopped:
            stopped.append(user_id)
            stand_still(2 * LEASE_S)
            os.kill(os.getpid(), signal.SIGCONT)
        acts.append(user_id)

    stopped: list[int] = []
    crowd = lease_of(start, lasts)
    crowd.until_all_run(20)
    stand_still(0.03)  # all are due in one turn
    until(lambda: crowd.ends or len(acts) == 20)
    turns()
    over = lasts == LEASE_S
    assert len(acts) == (0 if over else 20)
    assert crowd.recorder.snapshot.iterations == len(acts)
    assert (crowd.ends, crowd.errors) == (int(over), [])


def test_sigcont_may_interrupt_the_hub_itself(lease_of: Callable[..., Leased]) -> None:
    crowd = lease_of(lambda _: gevent.sleep(60))
    crowd.until_all_run(3)
    stand_still(2 * LEASE_S)
    os.kill(os.getpid(), signal.SIGCONT)
    until(lambda: crowd.ends)
    turns()
    assert (crowd.ends, crowd.counts) == (1, UserCounts())


def test_a_fence_ends_all_users_in_one_go(lease_of: Callable[..., Leased]) -> None:
    """No user gets a turn while others are being ended, even if that takes seconds."""
    acts: list[int] = []

    def start(user_id: int) -> None:
        try:
            gevent.sleep(0.02)
        finally:
            stand_still(0.001)
        acts.append(user_id)

    crowd = lease_of(start, 60.0)
    crowd.until_all_run(50)
    gevent.get_hub().loop.run_callback(crowd.users.fence)
    until(lambda: crowd.stopped)
    assert (acts, crowd.counts) == ([], UserCounts())


def test_fenced_users_are_not_done_and_only_running_ones_are_counted(
    lease_of: Callable[..., Leased],
) -> None:
    gate = Event()

    def start(user_id: int) -> None:
        try:
            gevent.sleep(0 if user_id == 1 else 60)
        finally:
            if user_id == 3:
                gate.wait()

    crowd = lease_of(start, 60.0)
    crowd.add(3)
    crowd.add(1, delay=3600.0)
    crowd.until_counts(waiting=1, running=2, resting=1)
    gevent.get_hub().loop.run_callback(crowd.users.fence)
    until(lambda: crowd.counts == UserCounts(running=1))
    gate.set()
    until(lambda: crowd.stopped)
    assert crowd.counts == UserCounts()
    assert crowd.users.take_ended() == ()


def test_a_fenced_user_that_does_not_end_is_reported(lease_of: Callable[..., Leased]) -> None:
    gate = Event()

    def start(_user_id: int) -> None:
        try:
            gevent.sleep(60)
        finally:
            gate.wait()

    crowd = lease_of(start)
    crowd.killer.grace = 0.05
    crowd.until_all_run(2)
    until(lambda: crowd.stuck)
    assert crowd.stuck == [[1, 2]]
    gate.set()
    until(lambda: crowd.stopped)


def test_the_lease_also_ends_users_that_were_ending_gently(lease_of: Callable[..., Leased]) -> None:
    """A run that stops gently does not last beyond the lease."""
    crowd = lease_of(lambda _: gevent.sleep(60))
    crowd.until_all_run(3)
    crowd.users.stop(force=False)
    until(lambda: crowd.stopped)
    assert crowd.ends == 1
