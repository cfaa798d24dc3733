"""The watchdog: a user that blocks the hub is named and ended, and no other user."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest

from amoc_gevent import clock, http, metrics
from amoc_gevent.http.recording import PendingRecord, Timings
from amoc_gevent.worker.cpu_wait import ThreadTimes, Times
from amoc_gevent.worker.watchdog import Blocking, UserBlocked, Watchdog
from tests.lasting import stand_still
from tests.worker.crowd import Crowd, until


@dataclass
class Watched:
    """Makes a watchdog that ends users after 0.3 s, and keeps its warnings."""

    warnings: list[Blocking] = field(default_factory=list)
    watchdog: Watchdog | None = None

    def begin(self, limit: float = 0.3, times: Times | None = None) -> None:
        self.watchdog = Watchdog(self.warnings.append, limit, times)
        gevent.sleep(0)  # its first heartbeat

    @property
    def named(self) -> list[int]:
        return [found.user_id for found in self.warnings]


@pytest.fixture
def watched() -> Iterator[Watched]:
    found = Watched()
    yield found
    if found.watchdog is not None:
        found.watchdog.stop()


def spin() -> None:
    while True:
        pass


def spin_in_small_calls() -> None:
    while True:
        sum(range(50))


@pytest.mark.parametrize(
    "block", [spin, spin_in_small_calls, lambda: time.sleep(60)], ids=["spin", "calls", "sleep"]
)
def test_a_user_that_never_yields_is_named_and_ended_and_the_others_go_on(
    watched: Watched, block: Callable[[], None]
) -> None:
    cleaned: list[int] = []

    def start(user_id: int) -> None:
        if user_id == 2:
            try:
                block()
            finally:
                cleaned.append(user_id)

    crowd = Crowd(start, repeat_interval=0.01, on_user_error="remove")
    watched.begin()
    crowd.add(3)
    until(lambda: watched.warnings and crowd.rounds[1] > 2 and crowd.rounds[3] > 2)
    crowd.users.stop(force=False)

    assert watched.named == [2]
    assert cleaned == [2]
    assert [(user_id, type(error)) for user_id, error in crowd.errors] == [(2, UserBlocked)]
    (found,) = watched.warnings
    assert found.seconds >= 0.1
    assert found.place.startswith("test_watchdog.py:")
    assert "test_watchdog.py" in found.stack
    assert "block()" in found.stack
    assert "users.py" not in found.stack


def test_a_user_that_blocks_for_a_moment_is_named_and_not_ended(watched: Watched) -> None:
    def start(_user_id: int) -> None:
        gevent.sleep(0)
        time.sleep(0.25)

    crowd = Crowd(start)
    watched.begin(limit=60.0)
    crowd.add(1)
    crowd.until_counts(resting=1)
    until(lambda: watched.warnings)
    assert watched.named == [1]
    assert crowd.errors == []


class Waiting:
    """A thread that waits for a CPU for a share of the time."""

    def __init__(self, share: float) -> None:
        self._share = share
        self.closed = False

    def read(self) -> ThreadTimes:
        return ThreadTimes(0, int(clock.monotonic_ns() * self._share), 0)

    def runnable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("share", "named"), [(0.9, []), (0.2, [1])])
def test_the_time_in_which_a_worker_waited_for_a_cpu_is_not_the_users(
    watched: Watched, share: float, named: list[int]
) -> None:
    def start(_user_id: int) -> None:
        gevent.sleep(0)
        time.sleep(0.4)

    crowd = Crowd(start)
    watched.begin(limit=60.0, times=Waiting(share))
    crowd.add(1)
    crowd.until_counts(resting=1)
    until(lambda: watched.named == named)
    assert watched.named == named


def test_a_user_is_ended_after_the_limit_without_the_waits_for_a_cpu(watched: Watched) -> None:
    begun: list[float] = []

    def start(_user_id: int) -> None:
        begun.append(clock.monotonic())
        time.sleep(60)

    crowd = Crowd(start, on_user_error="remove")
    watched.begin(limit=0.3, times=Waiting(0.5))
    crowd.add(1)
    until(lambda: crowd.errors)
    assert clock.monotonic() - begun[0] > 0.55


def test_it_closes_the_times_of_the_thread_when_it_stops(watched: Watched) -> None:
    times = Waiting(0.0)
    watched.begin(times=times)
    assert watched.watchdog is not None
    watched.watchdog.stop()
    until(lambda: times.closed)


def in_the_scenario() -> None:
    json.loads("[1]", object_hook=None, parse_int=lambda _: time.sleep(0.25))


def test_the_place_is_the_innermost_line_of_the_scenario(watched: Watched) -> None:
    crowd = Crowd(lambda _user_id: (gevent.sleep(0), in_the_scenario()))
    watched.begin(limit=60.0)
    crowd.add(1)
    crowd.until_counts(resting=1)
    until(lambda: watched.warnings)
    (found,) = watched.warnings
    line = in_the_scenario.__code__.co_firstlineno + 1
    assert found.place == f"test_watchdog.py:{line} in <lambda>"


def one_call_of(seconds: float) -> Callable[[], object]:
    """Return a call that keeps the interpreter's lock for about so much CPU time."""
    steps, took = 100_000, 0
    while took < 20e6:  # long enough to be measured
        steps *= 2
        began = clock.cpu_ns()
        sum(range(steps))
        took = clock.cpu_ns() - began
    steps = round(steps * seconds * 1e9 / took)
    return lambda: sum(range(steps))


def test_a_user_that_blocks_in_one_call_is_named_afterwards(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = one_call_of(0.4)
    monkeypatch.setattr(clock, "cpu_ns", clock.monotonic_ns)  # the process counts as busy

    def start(user_id: int) -> None:
        gevent.sleep(0.1)  # the watchdog's thread runs by then
        if user_id == 2:
            call()
            gevent.sleep(0.05)

    crowd = Crowd(start)
    watched.begin(limit=60.0)
    crowd.add(3)
    crowd.until_counts(resting=3)
    until(lambda: watched.warnings)
    assert watched.named == [2]
    assert "call()" in watched.warnings[0].stack
    assert crowd.errors == []


def test_remaining_warnings_are_given_when_it_stops(watched: Watched) -> None:
    def start(_user_id: int) -> None:
        gevent.sleep(0.1)
        time.sleep(0.25)
        assert watched.watchdog is not None
        watched.watchdog.stop()

    crowd = Crowd(start)
    watched.begin(limit=60.0)
    crowd.add(1)
    crowd.until_counts(resting=1)
    assert watched.named == [1]


def test_after_a_suspension_no_user_is_named(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = one_call_of(0.4)
    monkeypatch.setattr(clock, "cpu_ns", lambda: 0)  # the process counts as suspended

    def start(_user_id: int) -> None:
        gevent.sleep(0.1)
        call()
        gevent.sleep(0.1)

    crowd = Crowd(start)
    watched.begin(limit=60.0)
    crowd.add(1)
    crowd.until_counts(resting=1)
    assert watched.named == []


def test_a_user_that_swallows_user_blocked_is_interrupted_again(watched: Watched) -> None:
    caught: list[str] = []

    def start(_user_id: int) -> None:
        while len(caught) < 2:
            try:
                spin()
            except UserBlocked as error:
                caught.append(str(error))

    crowd = Crowd(start)
    watched.begin(limit=0.15)
    crowd.add(1)
    crowd.until_counts(resting=1)
    assert len(caught) == 2
    assert "without yielding" in caught[0]


def test_many_short_slices_that_saturate_the_hub_name_nobody(watched: Watched) -> None:
    begun = clock.monotonic()

    def start(_user_id: int) -> None:
        slice_end = clock.monotonic() + 0.002
        while clock.monotonic() < slice_end:
            pass

    crowd = Crowd(start, repeat_interval=0.0)
    watched.begin()
    crowd.add(200)
    until(lambda: clock.monotonic() > begun + 0.7)
    crowd.users.stop(force=False)
    assert crowd.rounds.total() > 50
    assert watched.warnings == []
    assert crowd.errors == []


def test_a_hub_that_the_engine_itself_keeps_busy_names_nobody(watched: Watched) -> None:
    crowd = Crowd(lambda _user_id: gevent.sleep(3600))
    watched.begin()
    crowd.add(1)
    crowd.until_counts(running=1)
    assert watched.watchdog is not None
    stand_still(0.4)  # in the greenlet of the test, not of a user
    ended = clock.monotonic()
    until(lambda: watched.watchdog._beat > ended, "the next beat")
    assert (watched.warnings, crowd.errors) == ([], [])


def test_samples_do_not_keep_the_objects_of_a_user_alive(watched: Watched) -> None:
    freed: list[bool] = []

    class Precious:
        def __del__(self) -> None:
            freed.append(True)

    def start(_user_id: int) -> None:
        _precious = Precious()
        time.sleep(0.25)

    crowd = Crowd(start)
    watched.begin(limit=60.0)
    crowd.add(1)
    crowd.until_counts(resting=1)
    assert freed == [True]


def test_the_operation_of_a_user_that_is_ended_for_blocking_is_an_error() -> None:
    metrics.recorder.reset()
    with pytest.raises(UserBlocked), metrics.operation("compute"):
        raise UserBlocked
    found = metrics.recorder.take().operations["compute"]
    assert (found.count, found.interrupted, found.error_groups) == (1, 0, {"UserBlocked": 1})


@pytest.mark.parametrize(
    ("raised", "error"), [(UserBlocked, "UserBlocked"), (gevent.GreenletExit, None)]
)
def test_a_judged_answer_is_an_error_where_its_user_is_ended_for_blocking(
    raised: type[BaseException], error: str | None
) -> None:
    metrics.recorder.reset()
    PendingRecord("judged", Timings(5), None, None).leave(raised)
    found = metrics.recorder.take().operations["judged"]
    assert found.error_groups == ({error: 1} if error else {})


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (http.Session, "amoc_gevent.http.wire.pool.connect"),
        (http.RequestsSession, "requests.adapters.HTTPAdapter.send"),
    ],
)
@pytest.mark.parametrize("raised", [UserBlocked, gevent.GreenletExit])
def test_a_request_is_interrupted_by_a_stop_and_an_error_where_its_user_blocked(
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[str], Any],
    place: str,
    raised: type[BaseException],
) -> None:
    def end(*_args: object, **_options: object) -> None:
        raise raised

    monkeypatch.setattr(place, end)
    metrics.recorder.reset()
    with make("http://127.0.0.1:9") as session, pytest.raises(raised):
        session.get("/")
    found = metrics.recorder.take().operations["GET /"]
    blocked = raised is UserBlocked
    assert found.interrupted == (0 if blocked else 1)
    assert found.error_groups == ({"UserBlocked": 1} if blocked else {})
