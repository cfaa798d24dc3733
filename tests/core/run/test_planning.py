"""Changes that commands make to a run, as tables. The tests of the master have the rest."""

from typing import Any

import pytest

from amoc_gevent.core.run import planning
from amoc_gevent.core.run.changes import NewEvent, PlanChange
from amoc_gevent.core.run.commands import Add, Do, Remove
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.plan import UNRELEASED, Batch, Move, Options, Plan, Removal, Status
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import AmocError, UsageError

NODES = {name: NodeView(name, "life", workers=workers) for name, workers in (("a", 1), ("b", 3))}


def a_run(status: Status = "running", **fields: Any) -> Run:
    """Return a run of the users 1 to 4 on node a, ten a second from 100 on."""
    batch = Batch(1, 4, 100.0, 10.0, ("a",))
    options = Options(user_rate=10.0)
    return Run(Plan(5, "r", status, options=options, batches=(batch,), **fields), 1, 4)


@pytest.mark.parametrize(
    ("status", "now", "start"),
    [
        ("starting", 200.0, UNRELEASED),
        ("running", 50.0, 100.4),  # after those before them
        ("running", 200.0, 200.1),  # as soon as workers can have heard of it
    ],
)
def test_added_users_follow_those_before_them(status: Any, now: float, start: float) -> None:
    run = a_run(status)
    batch, changes = planning.add(run, NODES, Add(2), now)
    assert (batch.first, batch.last, batch.rate) == (5, 6, 10.0)
    assert batch.start == pytest.approx(start)
    plan, event = changes
    assert plan == PlanChange({"batches": (*run.plan.batches, batch)})
    assert event == NewEvent("add", "2 users, 5 to 6")


@pytest.mark.parametrize(
    ("strategy", "places"),
    [("", ("a", "b")), ("blocks", ("a", "b")), ("capacity", ("b", "a", "b", "b"))],
)
def test_a_new_run_is_placed_by_its_strategy(strategy: str, places: tuple[str, ...]) -> None:
    command = Do("s.py", 1, 8, strategy=strategy, comment="why", duration=9.0)
    asked = Plan(7, "r", scenario="/x/s.py", code="abc")
    run, event = planning.new_run(command, [*NODES.values()], asked)
    (batch,) = run.plan.batches
    assert sorted(batch.nodes) == sorted(places)
    assert (run.plan.version, run.id, run.status, run.plan.code) == (7, "r", "starting", "abc")
    assert (run.workers, run.comment, run.duration) == (4, "why", 9.0)
    assert event == NewEvent("start", "s with users 1 to 8 on a, b")


@pytest.mark.parametrize(
    ("count", "force", "removals", "told"),
    [
        (1, False, (Removal(4, 4, force=False),), "1 user"),
        (9, True, (Removal(1, 4, force=True),), "4 users by force"),
    ],
)
def test_the_highest_ids_are_removed(count: int, force: bool, removals: Any, told: str) -> None:
    found, changes = planning.remove(a_run(), NODES, Remove(count, force=force))
    assert found == sum(len(one.ids) for one in removals)
    assert changes == [PlanChange({"removals": removals}), NewEvent("remove", told)]


def test_a_pause_is_open_until_users_start_again() -> None:
    assert planning.pause(a_run(), 7.0)[0] == PlanChange({"pauses": ((7.0, UNRELEASED),)})
    paused = a_run(pauses=((1.0, 2.0), (7.0, UNRELEASED)))
    assert planning.resume(paused, 9.0)[0] == PlanChange({"pauses": ((1.0, 2.0), (7.0, 9.0))})


HELD = (Move(("a",), ("b",), 1, UNRELEASED, 10.0, 1),)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (a_run("starting"), "run r is starting: try again in a moment"),
        (a_run(moves=HELD), "run r is still moving users: try again in a moment"),
    ],
)
def test_rebalancing_needs_a_running_run_without_open_moves(run: Run, told: str) -> None:
    with pytest.raises(AmocError, match=told):
        planning.rebalance(run, NODES)
    moves, (plan, event) = planning.rebalance(a_run(), NODES)
    assert moves == 1
    (move,) = plan.fields["moves"]  # type: ignore[union-attr]
    assert (move.sources, move.destinations) == (("a",), ("b",))
    assert event == NewEvent("rebalance", "users spread evenly over a, b")


def test_a_rebalance_that_moves_nobody_is_no_event() -> None:
    spread = a_run(moves=(Move(("a",), ("b",), 3, 100.0, 10.0, 1),))
    moves, changes = planning.rebalance(spread, NODES)
    assert (moves, changes) == (0, [])


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (None, "there is no run: start one with"),
        (a_run("finished"), "there is no run: start one with"),
        (a_run("stopping"), "run r is stopping"),
    ],
)
def test_only_a_run_that_goes_on_can_change(run: Run | None, told: str) -> None:
    with pytest.raises(AmocError, match=told):
        planning.require_changeable(run)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (Do("s", 0, 4), "users 0 to 4: ids are from 1 to"),
        (Do("s", 4, 3), "users 4 to 3: FIRST must not be above LAST"),
        (Do("s", 1, 4, duration=0.0), "it must be above 0"),
        (Do("s", 1, 4, strategy="random"), "there is no strategy random"),
    ],
)
def test_an_invalid_run_is_rejected(command: Do, told: str) -> None:
    planning.check_do(a_run("finished"), Do("s", 1, 4))
    with pytest.raises(UsageError, match=told):
        planning.check_do(None, command)
