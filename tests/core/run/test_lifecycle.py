"""The lifecycle of a run as tables: given a run, its nodes and the time, which changes are due."""

from dataclasses import replace
from typing import Any

import pytest

from amoc_gevent.core.manifest import Declared, Manifest
from amoc_gevent.core.messages import Event, Failure, Report, UserCounts
from amoc_gevent.core.run import lifecycle
from amoc_gevent.core.run.changes import (
    Change,
    EndRun,
    NewEvent,
    PlanChange,
    RaiseVersion,
    RunChange,
    TransientChange,
)
from amoc_gevent.core.run.lifecycle import LEAD_S
from amoc_gevent.core.run.node_events import Joined, Left, Lost, NodeEvent, Returned
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.plan import UNRELEASED, Batch, Move, Options, Plan, Status
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.run.transient import ALL_PLACED, Moment, TransientState

NOW = Moment(steady=1000.0, monotonic=50.0)
COUNTED = TransientState(counted=NOW.monotonic)
TIMEOUT = Options(user_rate=10.0, stop_timeout=5.0)


def a_run(status: Status = "running", *nodes: str, **more: Any) -> Run:
    """Return a run of the users 1 to 10 on these nodes, or on a and b; 60 s old."""
    start = UNRELEASED if status == "starting" else 940.0
    batch = Batch(1, 10, start, 10.0, nodes or ("a", "b"))
    fields = {"version": 5, "run": "r", "status": status, "options": TIMEOUT, "batches": (batch,)}
    if "duration" in more:
        fields["load_ends"] = 940.0 + more["duration"]
    plan = Plan(**{**fields, **more.pop("plan", {})})
    return Run(plan, 1, 10, started_at=0.0 if status == "starting" else 940.0, **more)


def a_node(name: str, state: Any = "ready", **more: Any) -> NodeView:
    """Return a node that follows the plan of that run, and was just heard."""
    known = {"run": "r", "plan_version": 5, "heard": NOW.monotonic, "workers": 2, **more}
    return NodeView(name, "life", "here", state=state, **known)


def nodes(*found: NodeView) -> dict[str, NodeView]:
    return {node.name: node for node in found}


def events(changes: list[Change]) -> list[tuple[str, str]]:
    return [(c.kind, c.text) for c in changes if isinstance(c, NewEvent)]


def of_plan(changes: list[Change]) -> dict[str, Any]:
    """Return all that changes in the plan."""
    return {k: v for c in changes if isinstance(c, PlanChange) for k, v in c.fields.items()}


def of_run(changes: list[Change]) -> dict[str, Any]:
    return {k: v for c in changes if isinstance(c, RunChange) for k, v in c.fields.items()}


def of_course(changes: list[Change]) -> dict[str, Any]:
    return {k: v for c in changes if isinstance(c, TransientChange) for k, v in c.fields.items()}


READY = nodes(a_node("a"), a_node("b"))
STOPPED = nodes(a_node("a", "stopped"), a_node("b", "stopped"))


# From status to status


@pytest.mark.parametrize(
    ("there", "released"),
    [
        (READY, True),
        (nodes(a_node("a"), a_node("b", "starting")), False),
        (nodes(a_node("a"), a_node("b", run="old")), False),
        # a node that has none of its users is not waited for
        (nodes(*READY.values(), a_node("c", "stopped")), True),
        # neither is one that is lost
        (nodes(a_node("a"), a_node("b", "starting", lost=True)), True),
    ],
)
def test_a_run_is_released_when_all_nodes_that_have_users_are_ready(
    there: Any, released: bool
) -> None:
    changes = lifecycle.advance(a_run("starting"), there, COUNTED, NOW)
    if not released:
        assert changes == []
        return
    assert of_run(changes) == {"started_at": 1000.0 + LEAD_S}
    assert of_plan(changes)["status"] == "running"
    assert [batch.start for batch in of_plan(changes)["batches"]] == [1000.0 + LEAD_S]


@pytest.mark.parametrize(
    ("more", "stops"),
    [
        ({}, False),
        ({"duration": 59.0}, True),
        ({"duration": 60.0}, True),
        ({"duration": 61.0}, False),
        ({"users": UserCounts(done=10)}, True),
        ({"users": UserCounts(done=9, resting=1)}, False),
    ],
)
def test_a_run_stops_after_its_duration_or_when_all_users_have_ended(
    more: Any, stops: bool
) -> None:
    changes = lifecycle.advance(a_run(**more), READY, COUNTED, NOW)
    if not stops:
        assert changes == []
        return
    assert changes == [
        RunChange({"stopping_at": 1000.0}),
        NewEvent("stop", "gently"),
        PlanChange({"status": "stopping", "force": False}),
    ]


@pytest.mark.parametrize(("status", "force"), [("starting", True), ("running", False)])
def test_a_failure_stops_the_run_and_by_force_before_it_began(status: Any, force: bool) -> None:
    changes = lifecycle.advance(a_run(status, failure=Failure("no")), READY, COUNTED, NOW)
    assert changes == [
        RunChange({"final_status": "failed"}),
        RunChange({"stopping_at": 1000.0}),
        NewEvent("stop", "by force" if force else "gently"),
        PlanChange({"status": "stopping", "force": force}),
    ]


def test_a_failure_stops_the_run_once() -> None:
    run = a_run("stopping", failure=Failure("no"), final_status="failed", stopping_at=999.0)
    assert lifecycle.advance(run, READY, COUNTED, NOW) == []


def test_a_run_ends_when_all_nodes_have_stopped() -> None:
    run = a_run("stopping", stopping_at=999.0)
    changes = lifecycle.advance(run, STOPPED, COUNTED, NOW)
    assert of_run(changes) == {"users": UserCounts(done=10)}
    assert changes[-1] == EndRun(1000.0)
    assert not events(changes)


@pytest.mark.parametrize(
    "waits_for",
    [a_node("b"), a_node("b", "stopped", run="old"), a_node("b", "stopped", ahead={7})],
    ids=["running", "of another run", "a report is missing"],
)
def test_a_run_does_not_end_before_each_node_has_reported_everything(waits_for: NodeView) -> None:
    run = a_run("stopping", stopping_at=999.0)
    assert lifecycle.advance(run, nodes(a_node("a", "stopped"), waits_for), COUNTED, NOW) == []


FORCED = {"plan": {"force": True}}


@pytest.mark.parametrize(
    ("age", "transient", "more", "told", "ended"),
    [
        (4.0, COUNTED, {}, [], False),
        (5.5, COUNTED, {}, [("stop", "by force: users did not end within 5s")], False),
        (5.5, COUNTED, FORCED, [], False),
        # 10 s after the force was due
        (14.5, COUNTED, FORCED, [], False),
        (15.5, COUNTED, FORCED, [("abandoned", "")], True),
        # as long as users still end, they are waited for
        (15.5, replace(COUNTED, progressed=995.0), FORCED, [], False),
        (15.5, replace(COUNTED, progressed=989.0), FORCED, [("abandoned", "")], True),
        # a master that has just begun could hear nobody before
        (60.0, replace(COUNTED, since=995.0), FORCED, [], False),
    ],
)
def test_a_stop_becomes_forced_and_then_gives_up(
    age: float, transient: TransientState, more: Any, told: list[tuple[str, str]], ended: bool
) -> None:
    run = a_run("stopping", stopping_at=1000.0 - age, **more)
    changes = lifecycle.advance(run, READY, transient, NOW)
    assert [kind for kind, _ in events(changes)] == [kind for kind, _ in told]
    assert all(text in found for (_, text), (_, found) in zip(told, events(changes), strict=True))
    assert any(isinstance(change, EndRun) for change in changes) is ended
    forced = any(kind == "stop" for kind, _ in told)
    assert of_plan(changes) == ({"force": True} if forced else {})


@pytest.mark.parametrize("status", ["finished", "failed", "idle"])
def test_a_run_that_has_ended_changes_no_more(status: Any) -> None:
    run = a_run(status, failure=Failure("no"), duration=1.0)
    transient = TransientState(unplaced_since=0.0, uncounted=True)
    assert lifecycle.advance(run, READY, transient, NOW) == []


@pytest.mark.parametrize(
    ("status", "before", "force", "told"),
    [
        ("running", False, False, ["gently"]),
        ("running", False, True, ["by force"]),
        ("stopping", False, False, []),
        ("stopping", False, True, ["by force"]),
        ("stopping", True, True, []),
        ("stopping", True, False, []),
    ],
)
def test_a_gentle_stop_may_become_forced_but_not_the_reverse(
    status: Any, before: bool, force: bool, told: list[str]
) -> None:
    run = a_run(status, plan={"force": before}, stopping_at=999.0)
    changes = lifecycle.stop(run, NOW, force=force)
    assert [text for _, text in events(changes)] == told
    assert of_plan(changes) == {"status": "stopping", "force": before or force}
    assert ("stopping_at" in of_run(changes)) is (status == "running")


# Users and their nodes


def test_users_of_lost_and_left_nodes_move_together() -> None:
    run = a_run("running", "a", "b", "c", "d")
    there = nodes(a_node("a"), a_node("b", lost=True), a_node("c", left=True), a_node("d"))
    there["a"].users = UserCounts(running=9)
    changes = lifecycle.reassign(run, there, TransientState(unplaced_since=49.0), NOW)
    (move,) = of_plan(changes)["moves"]
    assert move.sources == ("b", "c")
    assert move.destinations == ("d", "a"), "the one with the fewest users comes first"
    assert move.start == 1000.0 + LEAD_S
    assert of_course(changes) == {"joined": frozenset(), "unplaced_since": ALL_PLACED}


def test_users_of_a_new_process_stay_and_start_again() -> None:
    transient = TransientState(unplaced_since=49.9, joined=frozenset({"b"}))
    changes = lifecycle.advance(a_run(), READY, transient, NOW)
    assert [(move.sources, move.destinations) for move in of_plan(changes)["moves"]] == [
        (("b",), ())
    ]


def test_kept_users_wait_for_a_lost_node_but_not_for_one_that_left() -> None:
    keeping = {"options": replace(TIMEOUT, on_node_loss="keep")}
    run = a_run("running", "a", "b", "c", plan=keeping)
    there = nodes(a_node("a"), a_node("b", lost=True), a_node("c", left=True))
    changes = lifecycle.reassign(run, there, TransientState(unplaced_since=49.0), NOW)
    assert [move.sources for move in of_plan(changes)["moves"]] == [("c",)]


@pytest.mark.parametrize(
    "others", [(), (a_node("a", "failed"),)], ids=["no node", "only one that failed"]
)
def test_without_an_able_node_users_wait(others: tuple[NodeView, ...]) -> None:
    there = nodes(*others, a_node("b", lost=True))
    assert (
        of_plan(lifecycle.reassign(a_run(), there, TransientState(unplaced_since=49.0), NOW)) == {}
    )


def test_without_users_to_reassign_nothing_changes() -> None:
    assert lifecycle.reassign(a_run(), nodes(a_node("b", lost=True)), TransientState(), NOW) == []


@pytest.mark.parametrize(
    ("waited", "silent", "count", "moved"),
    [
        (0.1, False, 3, True),
        # another node is silent: it may have died together with this one
        (0.1, True, 3, False),
        (1.4, True, 3, False),
        (1.5, True, 3, True),
        # with many nodes the plan changes less often
        (0.1, False, 200, False),
        (0.3, False, 200, True),
    ],
)
def test_nodes_that_died_together_are_waited_for(
    waited: float, silent: bool, count: int, moved: bool
) -> None:
    there = nodes(*(a_node(f"n{number}") for number in range(count - 2)))
    there |= nodes(a_node("a", lost=True), a_node("b", heard=47.9 if silent else 50.0))
    transient = replace(COUNTED, unplaced_since=NOW.monotonic - waited)
    changes = lifecycle.advance(a_run(), there, transient, NOW)
    assert bool(of_plan(changes)) is moved


def test_users_that_were_lost_move_before_their_release_is_looked_at() -> None:
    held = Move(("a",), ("b",), 6, UNRELEASED, 10.0, 1)
    there = nodes(a_node("a"), a_node("b", lost=True))
    transient = replace(COUNTED, unplaced_since=48.0)
    changes = lifecycle.advance(a_run(plan={"moves": (held,)}), there, transient, NOW)
    moved = of_plan(changes)["moves"]
    assert [move.sources for move in moved] == [("a",), ("b",)]
    assert moved[0].start == UNRELEASED, "a has not got this plan yet"


@pytest.mark.parametrize(
    ("source", "released"),
    [
        (a_node("a"), True),
        (a_node("a", plan_version=4), False),
        (a_node("a", run="old"), False),
        (a_node("a", plan_version=4, lost=True), True),
    ],
)
def test_moved_users_start_once_their_source_has_released_them(source: Any, released: bool) -> None:
    run = a_run(plan={"moves": (Move(("a",), ("b",), 6, UNRELEASED, 10.0, 1),)})
    run.end_users(9, 9)
    assert lifecycle.moving(run.plan)
    changes = lifecycle.advance(run, nodes(source, a_node("b", plan_version=4)), COUNTED, NOW)
    if not released:
        assert changes == []
        return
    (move,) = of_plan(changes)["moves"]
    assert (move.start, move.ended) == (1000.0 + LEAD_S, ((9, 9),))


# Counts


@pytest.mark.parametrize(
    ("transient", "counted"),
    [
        (TransientState(), False),
        (TransientState(uncounted=True), True),
        (TransientState(uncounted=True, counted=49.9999), False),  # 2 nodes: each 0.5 ms
    ],
)
def test_users_are_counted_once_a_node_has_reported(
    transient: TransientState, counted: bool
) -> None:
    there = nodes(a_node("a", users=UserCounts(running=4)), a_node("b", run="old"))
    changes = lifecycle.advance(a_run(), there, transient, NOW)
    assert of_run(changes) == ({"users": UserCounts(6, 4)} if counted else {})
    if counted:
        assert of_course(changes) == {"uncounted": False, "counted": 50.0, "progressed": 1000.0}


def test_a_count_that_does_not_change_is_no_progress() -> None:
    run = a_run(users=UserCounts(waiting=6, running=4))
    there = nodes(a_node("a", users=UserCounts(running=4)))
    assert "progressed" not in of_course(lifecycle.count(run, there, TransientState(), NOW))


def test_users_of_a_lost_node_do_not_count() -> None:
    there = nodes(a_node("a", users=UserCounts(running=4), lost=True))
    assert of_run(lifecycle.count(a_run(), there, TransientState(), NOW))["users"] == UserCounts(
        waiting=10
    )


def test_the_last_user_to_be_counted_stops_the_run_at_once() -> None:
    run = a_run()
    run.end_users(1, 10)
    changes = lifecycle.advance(run, READY, TransientState(uncounted=True), NOW)
    assert events(changes) == [("stop", "gently")]


# Node events

NEW, KNOWN = a_node("b"), a_node("b")


@pytest.mark.parametrize(
    ("event", "told", "transient"),
    [
        (
            Joined(NEW),
            ("node-joined", "node b with 2 workers joined; it takes users from the next add on"),
            {"joined": frozenset({"b"})},
        ),
        (
            Joined(NEW, KNOWN),
            ("node-back", "node b with 2 workers was restarted"),
            {"joined": frozenset({"b"})},
        ),
        (
            Lost(a_node("b", lost=True)),
            ("node-lost", "node b sent no report for its lease; its users start on the others"),
            {"uncounted": True},
        ),
        (Returned(NEW), ("node-back", "node b reports again"), {}),
        (
            Left(a_node("b", left=True)),
            ("node-left", "node b left; its users start on the others"),
            {"uncounted": True},
        ),
    ],
)
def test_a_node_event_is_reported_and_its_users_wait_to_be_reassigned(
    event: NodeEvent, told: tuple[str, str], transient: dict[str, Any]
) -> None:
    changes = lifecycle.react(a_run(), nodes(a_node("a")), TransientState(), NOW, event)
    assert events(changes) == [told]
    assert of_course(changes) == {**transient, "unplaced_since": NOW.monotonic}
    assert not of_plan(changes)


def test_users_wait_from_the_first_loss_on() -> None:
    changes = lifecycle.react(a_run(), READY, TransientState(unplaced_since=48.0), NOW, Lost(NEW))
    assert of_course(changes)["unplaced_since"] == 48.0


@pytest.mark.parametrize(
    ("options", "others", "then"),
    [
        (TIMEOUT, (), "its users wait for any node"),
        (TIMEOUT, (a_node("a", "failed"),), "its users wait for any node"),
        (replace(TIMEOUT, on_node_loss="keep"), (a_node("a"),), "its users wait for it"),
    ],
)
def test_a_loss_says_where_the_users_will_be(options: Options, others: Any, then: str) -> None:
    run = a_run(plan={"options": options})
    there = nodes(*others, a_node("b", lost=True))
    (told,) = events(lifecycle.react(run, there, TransientState(), NOW, Lost(there["b"])))
    assert told[1].endswith(f"; {then}")


def test_one_worker_is_singular() -> None:
    assert lifecycle.described(a_node("a", workers=1)) == "node a with 1 worker"


# Changes that the previous master could not store


def test_a_node_with_a_newer_plan_raises_the_version_and_its_stop_holds() -> None:
    stopped = Event(1.0, "stopped-before", "node a was told before that run r stops")
    report = Report("a", "life", 1, "r", "ready", plan_version=9, events=(stopped,))
    changes = lifecycle.adopt_unsaved(a_run(), a_node("a", plan_version=9), report, NOW)
    assert changes[0] == RaiseVersion(9)
    assert of_plan(changes) == {"status": "stopping", "force": False}


def test_a_node_that_has_the_plan_changes_nothing() -> None:
    report = Report("a", "life", 1, "r", "ready", plan_version=5)
    assert lifecycle.adopt_unsaved(a_run(), a_node("a"), report, NOW) == []


# Manifests of the nodes


def test_the_first_manifest_is_kept_and_a_different_one_fails_the_run() -> None:
    one, other = Manifest("shop", "one"), Manifest("shop", "other")
    run = a_run("starting")
    (change,) = lifecycle.check_manifest(run, READY["a"], one)
    assert change == RunChange({"declared": Declared(one, "node a")})
    run.declared = Declared(one, "node a")
    assert of_run(lifecycle.check_manifest(run, READY["b"], one)) == {"declared": run.declared}
    failure = of_run(lifecycle.check_manifest(run, READY["b"], other))["failure"]
    assert "docstring 'one' on node a, 'other' on node b" in failure.message
    run.failure = Failure("the first")
    assert lifecycle.check_manifest(run, READY["b"], other) == []
