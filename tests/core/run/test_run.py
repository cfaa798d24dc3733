"""A run counts its users from the reports of nodes and the ids that ended."""

from dataclasses import replace

import pytest

from amoc_gevent.core.messages import UserCounts
from amoc_gevent.core.run.plan import Batch, Plan, Removal, Status
from amoc_gevent.core.run.run import Run

NOBODY = UserCounts()


def run_of(last: int = 10, status: Status = "running") -> Run:
    """Return a run of the users 1 to `last`."""
    return Run(Plan(1, "r", status, batches=(Batch(1, last, 0.0, 1.0, ("n",)),)), 1, last)


def counted(run: Run, reported: UserCounts) -> UserCounts:
    run.users = run.counted(reported)
    assert run.users.total == run.assigned
    return run.users


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (NOBODY, UserCounts(waiting=10)),  # nobody has told so far
        (UserCounts(running=4, done=6), UserCounts(waiting=6, running=4)),  # fenced, not done
        (UserCounts(running=10, done=10), UserCounts(running=10)),  # on others by now
        (UserCounts(running=8, resting=7), UserCounts(running=8, resting=2)),  # on both, briefly
        (UserCounts(running=15), UserCounts(running=10)),
        (UserCounts(2, 3, 5), UserCounts(2, 3, 5)),
    ],
)
def test_absent_users_wait_while_the_run_goes_on(
    reported: UserCounts, expected: UserCounts
) -> None:
    assert counted(run_of(), reported) == expected


@pytest.mark.parametrize("status", ["stopping", "finished", "failed"])
def test_absent_users_are_done_once_the_run_stops(status: Status) -> None:
    run = run_of(status=status)
    assert counted(run, UserCounts(3, 2, 1, 4)) == UserCounts(0, 2, 1, 7)


def test_done_are_those_that_ended_or_were_removed_each_once() -> None:
    run = run_of()
    run.end_users(1, 4)
    run.end_users(3, 5)
    run.plan = replace(run.plan, removals=(Removal(5, 9, force=False, step=2),))
    assert run.gone == 7
    assert counted(run, UserCounts(running=3)) == UserCounts(0, 3, 0, 7)
    run.plan = replace(run.plan, removals=(*run.plan.removals, Removal(10, 10, force=True)))
    assert run.gone == 8


def test_a_removed_user_is_done_only_once_it_is_gone() -> None:
    run = run_of()
    run.plan = replace(run.plan, removals=(Removal(6, 10, force=False),))
    assert counted(run, UserCounts(waiting=5, running=5)) == UserCounts(5, 5, 0, 0)
    assert counted(run, UserCounts(waiting=5, running=2)) == UserCounts(5, 2, 0, 3)
    assert counted(run, UserCounts(waiting=5)) == UserCounts(5, 0, 0, 5)


def test_all_have_ended_once_every_id_has_and_no_user_is_present() -> None:
    run = run_of()
    run.end_users(1, 10)
    counted(run, UserCounts(resting=1))
    assert not run.all_ended_by(run.users)
    counted(run, UserCounts(waiting=1))
    assert not run.all_ended_by(run.users)
    counted(run, NOBODY)
    assert run.all_ended_by(run.users)


def test_a_run_may_get_users_after_all_were_removed() -> None:
    run = run_of()
    run.plan = replace(run.plan, removals=(Removal(1, 10, force=True),))
    counted(run, NOBODY)
    assert run.users == UserCounts(done=10)
    assert not run.all_ended_by(run.users)


@pytest.mark.parametrize(
    ("duration", "ended_at", "now", "seconds"),
    [
        (None, 0.0, 1030.0, 30.0),
        (None, 1065.0, 1099.0, 65.0),
        (60.0, 1065.0, 1099.0, 60.0),  # users finished what they had begun
        (60.0, 0.0, 1062.0, 60.0),
        (60.0, 0.0, 1050.0, 50.0),
        (60.0, 1040.0, 1099.0, 40.0),  # it was stopped before
    ],
)
def test_load_is_made_until_the_duration_is_over(
    duration: float | None, ended_at: float, now: float, seconds: float
) -> None:
    run = run_of()
    run.duration, run.started_at, run.ended_at = duration, 1000.0, ended_at
    assert run.load_time(now) == seconds


def test_a_run_that_never_began_made_no_load() -> None:
    run = run_of()
    run.duration, run.started_at = 60.0, 0.0
    assert run.load_time(1099.0) == 0.0


def test_ids_that_were_never_assigned_do_not_end() -> None:
    run = run_of()
    run.end_users(-5, 2)
    run.end_users(10, 2**62)
    assert [*run.ended_ids] == [(1, 2), (10, 10)]


def test_a_restored_run_knows_which_users_ended() -> None:
    run = run_of()
    run.end_users(1, 4)
    assert Run(run.plan, 1, 10, ended_ids=run.ended_ids).gone == 4


@pytest.mark.parametrize(
    ("operations", "iterations", "failed", "why"),
    [
        ({}, 0, 0, ""),  # it was stopped early, or its users wait
        ({}, 5, 4, ""),
        ({}, 5, 5, "none of 5 iterations succeeded"),
        ({"GET /": (10, 9, 0)}, 5, 5, ""),
        ({"GET /": (10, 10, 0)}, 5, 0, "none of 10 operations succeeded"),
        ({"GET /": (10, 10, 0), "POST /": (1, 0, 3)}, 5, 5, ""),
        ({"GET /": (1, 1, 2)}, 0, 0, "none of 1 operation succeeded, and 2 were interrupted"),
        ({"GET /": (0, 0, 7)}, 0, 0, "no operation ended, 7 were interrupted"),
    ],
)
def test_a_run_in_which_nothing_succeeded_says_what_did_not(
    operations: dict[str, tuple[int, int, int]], iterations: int, failed: int, why: str
) -> None:
    run = run_of(status="finished")
    total = run.results.total
    total.iterations, total.failed = iterations, failed
    for name, (count, errors, interrupted) in operations.items():
        found = total.operation(name)
        found.count, found.interrupted = count, interrupted
        if errors:
            found.fail("refused", errors)
    assert run.no_success == why


@pytest.mark.parametrize(
    ("duration", "ended", "removed", "status", "seconds"),
    [
        (60.0, 0, 0, "finished", 10.0),
        (60.0, 9, 0, "finished", 10.0),
        (60.0, 0, 10, "finished", 10.0),  # nobody was left, and the run went on
        (60.0, 10, 0, "finished", None),  # it ended by itself
        (10.0, 0, 0, "finished", None),
        (None, 0, 0, "finished", None),
        (60.0, 0, 0, "failed", None),
        (60.0, 0, 0, "stopping", None),
    ],
)
def test_a_run_ended_by_command_before_its_duration_was_stopped(
    duration: float | None,
    ended: int,
    removed: int,
    status: Status,
    seconds: float | None,
) -> None:
    run = run_of(status=status)
    run.duration, run.started_at, run.stopping_at, run.ended_at = duration, 1000.0, 1010.0, 1012.0
    if duration is not None:
        run.plan = replace(run.plan, load_ends=1000.0 + duration)
    if ended:
        run.end_users(1, ended)
    if removed:
        run.plan = replace(run.plan, removals=(Removal(1, removed, force=True),))
    assert run.stopped_after == seconds


def test_a_run_stopped_before_its_first_user_was_stopped_after_no_time() -> None:
    run = run_of(status="finished")
    run.duration, run.stopping_at = 60.0, 1010.0
    assert run.stopped_after == 0.0
