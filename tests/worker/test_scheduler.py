"""The users of a worker: when they start, rest and end, whatever a scenario raises."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import gevent
import pytest
from gevent import GreenletExit
from gevent.event import Event

from amoc_gevent import clock, metrics, user
from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.core.run.placement import Share
from amoc_gevent.core.run.plan import Batch, Removal
from tests.worker.crowd import AT_ONCE, Crowd, until


def total(counts: UserCounts) -> int:
    return counts.waiting + counts.running + counts.resting + counts.done


def nothing(_user_id: int) -> None:
    """An iteration that ends at once."""


def test_the_states_always_sum_to_what_was_assigned() -> None:
    sums: set[int] = set()

    def start(user_id: int) -> None:
        sums.add(total(crowd.counts))
        gevent.sleep(0.001 * (user_id % 3))
        sums.add(total(crowd.counts))
        if user_id % 7 == 0:
            raise ValueError

    crowd = Crowd(start, repeat_interval=0.002, repeat_num=3, on_user_error="remove")
    crowd.add(100, rate=5000)
    until(lambda: crowd.rounds)
    crowd.remove(60, 70)
    crowd.remove(80, 90, force=True)
    until(lambda: sums.add(total(crowd.counts)) or crowd.counts.done == 100)
    assert sums == {100}


def test_the_count_of_each_state() -> None:
    gate = Event()
    crowd = Crowd(lambda user_id: gate.wait() if user_id <= 2 else None, repeat_num=0)
    crowd.add(3)
    crowd.add(5, delay=3600)
    until(lambda: crowd.rounds.total() == 3)
    assert crowd.counts == UserCounts(waiting=5, running=2, resting=1, done=0)
    crowd.remove(3, 4)
    assert crowd.counts == UserCounts(waiting=4, running=2, resting=0, done=2)
    gate.set()
    crowd.until_counts(running=0, resting=2)


def test_users_start_in_order_and_not_before_their_slots() -> None:
    crowd = Crowd(nothing)
    batch = crowd.add(40, rate=400)
    until(lambda: len(crowd.started_at) == 40)
    assert list(crowd.started_at) == list(range(1, 41))
    assert all(at >= batch.slot(user_id) for user_id, at in crowd.started_at.items())


def test_only_the_ids_of_the_share_are_started() -> None:
    crowd = Crowd(nothing)
    crowd.add(5, step=3)
    crowd.until_counts(resting=5)
    assert sorted(crowd.rounds) == [1, 4, 7, 10, 13]


def test_slots_are_in_the_masters_time() -> None:
    crowd = Crowd(nothing)
    offset = 1_700_000_000.0
    start = clock.monotonic() + offset + 0.05
    crowd.users.set_clock(offset)
    crowd.users.assign(Share(Batch(1, 1, start, 1.0, ("here",)), range(1, 2), 0))
    until(lambda: crowd.started_at)
    assert crowd.started_at[1] >= start - offset


def test_a_user_starts_again_after_its_rest() -> None:
    begun: list[float] = []
    ended: list[float] = []

    def start(_user_id: int) -> None:
        begun.append(clock.monotonic())
        gevent.sleep(0.01)
        ended.append(clock.monotonic())

    crowd = Crowd(start, repeat_interval=0.05)
    crowd.add(1)
    until(lambda: len(begun) >= 3)
    assert all(again - over >= 0.05 for again, over in zip(begun[1:3], ended[:2], strict=True))


@pytest.mark.parametrize("in_helper", [False, True])
def test_when_the_duration_is_over_no_user_begins_another_operation(in_helper: bool) -> None:
    metrics.recorder.reset()
    ended: list[int] = []

    def walk(user_id: int) -> None:
        try:
            while True:
                with metrics.operation("step"):
                    gevent.sleep(0.001)
                user.sleep(0.001 if user_id % 2 else 3600.0)
        finally:
            ended.append(user_id)

    def start(user_id: int) -> None:
        if in_helper:
            user.spawn(walk, user_id).get()
        walk(user_id)

    crowd = Crowd(start, repeat_interval=0.001)
    crowd.add(6)
    until(lambda: metrics.recorder.snapshot.operation("step").count > 60)
    crowd.end_load()
    until(lambda: crowd.stopped)
    assert sorted(ended) == [1, 2, 3, 4, 5, 6]
    snapshot = crowd.recorder.snapshot
    assert snapshot.counters == {"iterations cut short by the duration": 6}
    assert (snapshot.iterations, snapshot.failed, crowd.errors) == (0, 0, [])
    assert metrics.recorder.snapshot.operation("step").interrupted == 0


def test_at_the_end_of_the_duration_a_sleeping_user_that_asks_leaving_asks_again() -> None:
    farewells: list[int] = []

    def start(user_id: int) -> None:
        while not user.leaving():
            user.sleep(3600.0)
        with metrics.operation("farewell"):
            farewells.append(user_id)

    crowd = Crowd(start)
    crowd.add(2)
    until(lambda: len(crowd.started_at) == 2)
    crowd.end_load()
    until(lambda: crowd.stopped)
    assert sorted(farewells) == [1, 2]
    assert (crowd.recorder.snapshot.iterations, crowd.recorder.snapshot.counters) == (2, {})


def test_at_the_end_of_the_duration_sleeps_in_all_greenlets_of_a_user_end() -> None:
    def start(user_id: int) -> None:
        kinds = (user.spawn, gevent.spawn)
        sleeping = [spawn(user.sleep, 3600.0) for spawn in kinds]
        began.append(user_id)
        for greenlet in sleeping:
            try:
                greenlet.get()
            except user.UserLeaving:
                woken.append(user_id)

    began: list[int] = []
    woken: list[int] = []
    crowd = Crowd(start)
    crowd.add(2)
    until(lambda: len(began) == 2)
    crowd.end_load()
    until(lambda: crowd.stopped)
    assert sorted(woken) == [1, 1, 2, 2]


def test_a_scenario_that_raises_it_before_the_end_has_failed() -> None:
    def start(_: int) -> None:
        raise user.UserLeaving

    crowd = Crowd(start)
    crowd.add(1)
    crowd.until_counts(resting=1)
    assert [type(error) for _, error in crowd.errors] == [user.UserLeaving]
    assert crowd.recorder.snapshot.iterations == 1


def test_a_worker_ends_the_load_though_its_master_is_gone() -> None:
    def start(user_id: int) -> None:
        while user_id != 3:
            with metrics.operation("step"):
                gevent.sleep(0.001)

    crowd = Crowd(start, repeat_interval=0.001)
    crowd.add(3)
    crowd.add(1, delay=3600.0)
    until(lambda: crowd.rounds[3] > 3)
    crowd.users.set_clock(0.0, load_ends=clock.monotonic() + 0.05)
    until(lambda: crowd.counts.running == 0)
    rounds, rested = crowd.rounds.total(), clock.monotonic() + 0.05
    until(lambda: clock.monotonic() > rested)
    assert crowd.rounds.total() == rounds
    assert (crowd.counts.waiting, crowd.counts.resting) == (1, 1)
    assert not crowd.stopped
    crowd.users.stop(force=False)
    assert crowd.stopped


def test_a_stop_before_the_end_of_the_duration_does_not_prolong_it() -> None:
    def start(_: int) -> None:
        while True:
            with metrics.operation("step"):
                gevent.sleep(0.001)

    crowd = Crowd(start)
    crowd.add(2)
    until(lambda: len(crowd.started_at) == 2)
    crowd.users.set_clock(0.0, load_ends=clock.monotonic() + 0.05)
    crowd.users.stop(force=False)
    until(lambda: crowd.stopped)
    assert crowd.recorder.snapshot.counters == {"iterations cut short by the duration": 2}


def test_after_the_duration_what_is_under_way_is_finished() -> None:
    began, finished = Event(), Event()

    def start(_: int) -> None:
        with metrics.operation("long"):
            began.set()
            finished.wait()

    crowd = Crowd(start)
    crowd.add(1)
    began.wait()
    crowd.end_load()
    gevent.sleep(0)
    assert not crowd.stopped
    finished.set()
    until(lambda: crowd.stopped)
    assert crowd.recorder.snapshot.iterations == 1
    assert crowd.recorder.snapshot.counters == {}


def test_an_error_after_the_duration_is_still_an_error() -> None:
    def start(_: int) -> None:
        try:
            user.sleep(3600.0)
        finally:
            raise ValueError("on the way out")

    crowd = Crowd(start)
    crowd.add(1)
    until(lambda: crowd.started_at)
    crowd.end_load()
    until(lambda: crowd.stopped)
    assert [type(error) for _, error in crowd.errors] == [ValueError]


def test_a_user_is_done_after_repeat_num_iterations() -> None:
    crowd = Crowd(nothing, repeat_interval=0.001, repeat_num=3)
    crowd.add(5)
    crowd.until_counts(done=5)
    assert crowd.rounds == Counter(dict.fromkeys(range(1, 6), 3))
    assert crowd.users.take_ended() == ((1, 5),)
    assert crowd.users.take_ended() == ()
    assert crowd.recorder.snapshot.iterations == 15
    assert crowd.recorder.snapshot.started == 5


def test_a_repeat_num_below_the_iterations_so_far_ends_a_user_after_the_present_one() -> None:
    crowd = Crowd(nothing, repeat_interval=0.001, repeat_num=0)
    crowd.add(1)
    until(lambda: crowd.rounds[1] >= 5)
    crowd.users.options = replace(crowd.users.options, repeat_num=2)
    crowd.until_counts(done=1)


def test_a_shorter_rest_applies_to_resting_users() -> None:
    crowd = Crowd(nothing, repeat_interval=3600.0)
    crowd.add(3)
    crowd.until_counts(resting=3)
    crowd.users.options = replace(crowd.users.options, repeat_interval=0.001)
    until(lambda: min(crowd.rounds.values()) >= 2)


@pytest.mark.parametrize(("policy", "done"), [("repeat", False), ("remove", True), ("stop", True)])
def test_on_user_error_decides_whether_a_failed_user_goes_on(policy: str, done: bool) -> None:
    def start(user_id: int) -> None:
        if user_id == 2:
            raise ValueError

    crowd = Crowd(start, repeat_interval=0.001, on_user_error=policy)
    crowd.add(2)
    until(lambda: crowd.rounds[1] > 5)
    assert crowd.recorder.snapshot.failed == crowd.rounds[2] == len(crowd.errors)
    if done:
        assert crowd.rounds[2] == 1
        assert crowd.users.take_ended() == ((2, 2),)
    else:
        assert crowd.rounds[2] > 1
        assert crowd.users.take_ended() == ()


class Empty(Exception):  # noqa: N818  # falsy, as some exceptions of libraries are
    """An exception that is false in `or`."""

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        SystemExit(3),
        KeyboardInterrupt(),
        BaseException("bare"),
        GreenletExit(),
        gevent.Timeout(),
        RecursionError(),
        Empty(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_of_start_is_recorded_and_other_users_go_on(error: BaseException) -> None:
    def start(user_id: int) -> None:
        if user_id == 1:
            raise error

    crowd = Crowd(start, repeat_interval=0.001)
    crowd.add(2)
    until(lambda: crowd.rounds[1] >= 2 and crowd.rounds[2] >= 2)
    assert crowd.errors[0] == (1, error)
    assert crowd.recorder.snapshot.failed == crowd.rounds[1]


def test_sys_exit_ends_only_the_iteration() -> None:
    crowd = Crowd(lambda _user_id: sys.exit("enough"), repeat_interval=0.001)
    crowd.add(1)
    until(lambda: crowd.rounds[1] >= 3)
    assert isinstance(crowd.errors[0][1], SystemExit)


def test_an_exception_of_a_helper_counts_as_the_users() -> None:
    def start(user_id: int) -> None:
        user.spawn(int, "none" if user_id == 1 else "1")
        gevent.sleep(0.001)

    crowd = Crowd(start, repeat_num=1)
    crowd.add(2)
    crowd.until_counts(done=2)
    assert [(user_id, type(error)) for user_id, error in crowd.errors] == [(1, ValueError)]


def test_a_helper_ends_with_the_iteration() -> None:
    cut: list[int] = []

    def start(user_id: int) -> None:
        def helper() -> None:
            try:
                gevent.sleep(3600)
            finally:
                cut.append(user_id)

        user.spawn(helper)
        gevent.sleep(0)

    crowd = Crowd(start, repeat_num=1)
    crowd.add(2)
    until(lambda: sorted(cut) == [1, 2])
    assert crowd.errors == []


def test_a_gentle_removal_lets_running_users_finish_and_ends_the_others_at_once() -> None:
    gate, finished = Event(), []

    def start(user_id: int) -> None:
        if user_id == 2:
            gate.wait()
        finished.append(user_id)

    crowd = Crowd(start)
    crowd.add(2)
    crowd.add(1, delay=3600)
    crowd.until_counts(waiting=1, running=1, resting=1)
    crowd.remove(1, 3)
    assert crowd.counts == UserCounts(waiting=0, running=1, resting=0, done=2)
    gate.set()
    crowd.until_counts(done=3)
    assert finished == [1, 2]
    assert crowd.users.take_ended() == ()  # the plan lists them


def test_a_forced_removal_ends_running_users_at_once_and_runs_their_finally_blocks() -> None:
    cleaned: list[int] = []

    def start(user_id: int) -> None:
        try:
            gevent.sleep(3600)
        finally:
            gevent.sleep(0)  # closing may yield
            cleaned.append(user_id)

    crowd = Crowd(start)
    crowd.add(4)
    crowd.until_counts(running=4)
    crowd.remove(2, 3, force=True)
    crowd.until_counts(running=2, done=2)
    assert sorted(cleaned) == [2, 3]
    assert (crowd.errors, crowd.stuck) == ([], [])
    assert crowd.recorder.snapshot.iterations == 0


def test_another_exception_of_a_killed_user_is_recorded_and_the_user_ends() -> None:
    def start(_user_id: int) -> None:
        try:
            gevent.sleep(3600)
        finally:
            raise ConnectionError("while closing")

    crowd = Crowd(start)
    crowd.add(1)
    crowd.until_counts(running=1)
    crowd.remove(1, 1, force=True)
    crowd.until_counts(done=1)
    assert [type(error) for _, error in crowd.errors] == [ConnectionError]


def stubborn(gate: Event) -> Callable[[int], None]:
    """Return a `start` that only the gate ends."""

    def start(_user_id: int) -> None:
        while not gate.is_set():
            try:
                gate.wait()
            except GreenletExit:
                continue

    return start


def test_a_user_that_swallows_the_kill_is_reported_after_the_grace() -> None:
    gate = Event()
    crowd = Crowd(stubborn(gate), kill_grace=0.01)
    crowd.add(3)
    crowd.until_counts(running=3)
    crowd.remove(2, 3, force=True)
    until(lambda: crowd.stuck)
    assert crowd.stuck == [[2, 3]]
    assert crowd.counts.running == 3
    gate.set()
    crowd.until_counts(done=2, resting=1)


def test_a_forced_stop_also_reports_users_stuck_before_it() -> None:
    gate = Event()
    crowd = Crowd(stubborn(gate), kill_grace=0.01)
    crowd.add(1)
    crowd.until_counts(running=1)
    crowd.remove(1, 1, force=True)
    until(lambda: crowd.stuck)
    crowd.users.stop(force=True)
    crowd.users.stop(force=True)
    until(lambda: len(crowd.stuck) == 2)
    gate.set()
    until(lambda: crowd.stopped)
    assert crowd.stuck == [[1], [1]]


def test_users_that_end_within_the_grace_are_not_reported() -> None:
    crowd = Crowd(lambda _user_id: gevent.sleep(3600), kill_grace=0.01)
    crowd.add(2)
    crowd.until_counts(running=2)
    crowd.remove(1, 1, force=True)
    crowd.until_counts(done=1)
    gone = gevent.spawn_later(0.05, nothing, 0)
    gone.join()
    assert crowd.stuck == []


def test_a_removal_may_span_batches() -> None:
    crowd = Crowd(nothing, repeat_interval=3600.0)
    crowd.add(10)
    crowd.add(10, delay=3600)
    crowd.until_counts(resting=10)
    crowd.remove(8, 13)
    assert crowd.counts == UserCounts(waiting=7, running=0, resting=7, done=6)


def test_removed_waiting_users_do_not_start() -> None:
    crowd = Crowd(nothing)
    crowd.add(30, rate=1000, step=2)
    crowd.remove(11, 40)
    crowd.until_counts(waiting=0)
    assert sorted(crowd.rounds) == [1, 3, 5, 7, 9, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59]


def test_a_million_removed_waiting_users_do_not_delay_the_next() -> None:
    crowd = Crowd(nothing)
    crowd.add(1_000_000, delay=0.02)
    crowd.remove(1, 999_999)
    assert crowd.counts.waiting == 1
    crowd.until_counts(resting=1)
    assert list(crowd.rounds) == [1_000_000]


def test_users_that_ended_before_a_restart_do_not_start_again() -> None:
    crowd = Crowd(nothing)
    crowd.users.exclude(IdSet([(2, 3), (9, 9)]))
    crowd.add(5)
    assert total(crowd.counts) == 5
    crowd.until_counts(resting=3, done=2)
    assert sorted(crowd.rounds) == [1, 4, 5]


def test_late_users_after_a_restart_are_spaced_by_the_rate() -> None:
    crowd = Crowd(nothing)
    crowd.users.exclude(IdSet([(2, 4)]))
    begun = clock.monotonic()
    crowd.add(10, rate=100, delay=-1000.0)
    crowd.add(5, rate=100, delay=-500.0)
    until(lambda: len(crowd.started_at) == 12)
    for place, at in enumerate(sorted(crowd.started_at.values())):
        assert at >= begun + place / 100


def test_a_gentle_stop_lets_running_users_finish() -> None:
    gate = Event()
    crowd = Crowd(lambda user_id: gate.wait() if user_id == 1 else None)
    crowd.add(2)
    crowd.add(1, delay=3600)
    crowd.until_counts(waiting=1, running=1, resting=1)
    crowd.users.stop(force=False)
    assert crowd.counts == UserCounts(waiting=0, running=1, resting=0, done=2)
    assert crowd.stopped == 0
    gate.set()
    until(lambda: crowd.stopped == 1)
    assert crowd.counts.done == 3
    assert crowd.rounds == Counter({1: 1, 2: 1})


def test_a_stop_without_running_users_is_over_at_once() -> None:
    crowd = Crowd(nothing)
    crowd.add(5, delay=3600)
    crowd.users.stop(force=False)
    assert crowd.stopped == 1
    assert crowd.counts.done == 5


def test_a_forced_stop_after_a_gentle_one_kills_running_users() -> None:
    crowd = Crowd(lambda _user_id: gevent.sleep(3600))
    crowd.add(3)
    crowd.until_counts(running=3)
    crowd.users.stop(force=False)
    crowd.users.stop(force=True)
    until(lambda: crowd.stopped == 1)
    assert crowd.errors == []


def test_no_user_is_assigned_after_a_stop() -> None:
    crowd = Crowd(nothing)
    crowd.users.stop(force=False)
    crowd.add(5)
    assert total(crowd.counts) == 0


def test_users_without_rest_let_other_greenlets_run() -> None:
    ticks: list[int] = []

    def tick() -> None:
        while True:
            ticks.append(crowd.rounds.total())
            gevent.sleep(0.001)

    crowd = Crowd(nothing, repeat_interval=0.0)
    crowd.add(10)
    ticking = gevent.spawn(tick)
    until(lambda: len(ticks) >= 20 and min(crowd.rounds.values()) > 100)
    ticking.kill()
    crowd.users.stop(force=False)
    assert ticks == sorted(ticks)


def test_a_steep_ramp_does_not_delay_resting_users() -> None:
    seen: list[int] = []

    def start(user_id: int) -> None:
        if user_id == 1:
            seen.append(crowd.counts.waiting)

    crowd = Crowd(start, repeat_interval=0.001)
    crowd.add(1)
    until(lambda: crowd.rounds[1])
    crowd.add(10_000)
    until(lambda: crowd.counts.waiting == 0)
    crowd.users.stop(force=False)
    assert len({waiting for waiting in seen if 0 < waiting < 10_000}) >= 3


def test_all_users_of_a_huge_rate_start() -> None:
    crowd = Crowd(nothing)
    crowd.add(20_000, rate=AT_ONCE)
    crowd.until_counts(resting=20_000)
    assert set(crowd.rounds.values()) == {1}


def test_running_users_are_asked_to_end_by_a_gentle_removal_and_by_a_stop() -> None:
    asked: list[int] = []

    def start(user_id: int) -> None:
        assert user.leaving(within=30)
        asked.append(user_id)

    crowd = Crowd(start)
    crowd.add(5, rate=1000)
    crowd.until_counts(running=5)
    crowd.remove(4, 5)
    until(lambda: sorted(asked) == [4, 5])
    assert crowd.counts.running == 3
    crowd.users.stop(force=False)
    until(lambda: sorted(asked) == [1, 2, 3, 4, 5])


# Users that are moved to another worker, and pauses


def test_departing_users_end_at_once_in_any_state() -> None:
    gate = Event()
    crowd = Crowd(lambda user_id: gate.wait() if user_id in {2, 4} else None)
    crowd.add(4)
    crowd.add(4, delay=3600)
    until(lambda: crowd.rounds.total() == 4)
    crowd.users.depart(range(3, 5))
    crowd.users.depart(range(7, 9))
    assert crowd.users.departing
    assert crowd.counts == UserCounts(waiting=2, running=1, resting=1, done=0)
    until(lambda: not crowd.users.departing, "user 4 to be gone")
    assert crowd.counts == UserCounts(waiting=2, running=1, resting=1, done=0)
    assert crowd.users.take_ended() == ()
    assert crowd.errors == []


def test_departed_users_may_come_back() -> None:
    gate = Event()
    crowd = Crowd(lambda _user_id: gate.wait())
    batch = crowd.add(3)
    crowd.until_counts(running=3)
    crowd.users.depart(range(2, 4))
    until(lambda: not crowd.users.departing)
    crowd.users.assign(Share(batch, range(2, 4), 0, resume=clock.monotonic(), pace=0.001))
    crowd.until_counts(running=3, done=0)
    assert crowd.rounds == Counter({1: 1, 2: 2, 3: 2})


def test_moved_users_start_at_the_pace_of_the_move() -> None:
    crowd = Crowd(nothing)
    batch = Batch(1, 20, clock.monotonic() - 3600, AT_ONCE, ("here",))
    begin = clock.monotonic() + 0.02
    crowd.users.exclude(IdSet([(1, 4)]))
    crowd.users.assign(Share(batch, range(1, 21), 0, resume=begin, pace=0.005))
    crowd.until_counts(resting=16, done=4)
    started = crowd.started_at
    assert sorted(started) == list(range(5, 21))
    assert all(at >= begin + k * 0.005 for k, (_, at) in enumerate(sorted(started.items())))


def test_no_user_starts_in_a_pause_and_the_rest_are_delayed_by_it() -> None:
    crowd = Crowd(nothing, repeat_interval=0.001)
    batch = crowd.add(10, rate=100)
    until(lambda: len(crowd.started_at) >= 3)
    begin = clock.monotonic()
    crowd.users.set_clock(0.0, ((begin, float("inf")),))
    there, rounds = set(crowd.started_at), crowd.rounds.total()
    until(lambda: crowd.rounds.total() > rounds + 20, "those that had started to go on")
    assert set(crowd.started_at) == there
    end = clock.monotonic()
    crowd.users.set_clock(0.0, ((begin, end),))
    until(lambda: len(crowd.started_at) == 10)
    late = [one for one in range(1, 11) if one not in there]
    assert all(crowd.started_at[one] >= batch.slot(one) + end - begin for one in late)


def test_every_second_user_is_removed_by_a_removal_of_that_step() -> None:
    crowd = Crowd(nothing)
    crowd.add(6)
    crowd.add(6, delay=3600)
    crowd.until_counts(resting=6)
    crowd.users.remove(Removal(2, 10, force=False, step=2))
    assert crowd.counts == UserCounts(waiting=4, running=0, resting=3, done=5)
