"""The state of a run, without sockets: changes are applied, stored and published, in this order."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from amoc_gevent.bus.topics import BEAT, PLAN
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import (
    Event,
    Failure,
    Report,
    UserCounts,
    decode_beat,
    decode_plan,
)
from amoc_gevent.core.run.changes import (
    EndRun,
    NewEvent,
    PlanChange,
    RaiseVersion,
    RunChange,
    TransientChange,
)
from amoc_gevent.core.run.node_events import Lost
from amoc_gevent.core.run.plan import Batch, Options, Plan, Status
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.run.transient import ALL_PLACED
from amoc_gevent.errors import AmocError
from amoc_gevent.master.registry import NodeRegistry
from amoc_gevent.master.run_saver import RunSaver
from amoc_gevent.master.run_state import VERSIONS_LOST_MAX, RunState
from amoc_gevent.master.store import Store


class Told(list[tuple[bytes, tuple[bytes, ...]]]):
    """A publisher that records the messages sent."""

    def send(self, topic: bytes, *frames: bytes) -> None:
        self.append((topic, frames))

    def plans(self) -> list[Plan]:
        return [decode_plan(frames[1]) for topic, frames in self if topic == PLAN]


class Parts:
    """The state of a run, with all that it needs; `file` is its run store, if there is one."""

    def __init__(self, file: Path | None = None) -> None:
        self.told = Told()
        self.store = Store(file) if file is not None else None
        self.registry = NodeRegistry(15.0, stored=self.store is not None)
        self.saver = RunSaver(self.registry, self.store)
        self.state = RunState(self.told, self.registry, self.saver)

    def begin(self, status: Status = "running") -> Run:
        """Begin a run of the users 1 to 10 on node a."""
        batch = Batch(1, 10, 0.0, 10.0, ("a",))
        version = self.state.version + 1
        plan = Plan(version, f"r{version}", status, scenario="s.py", batches=(batch,))
        self.state.begin(Run(plan, 1, 10), b"code")
        assert self.state.run is not None
        return self.state.run

    def report(self, **more: Any) -> Report:
        """Return the first report of node a about the run, which has joined by it."""
        run = self.state.plan.run
        report = Report("a", "life", 1, run, "ready", **{"plan_version": 1, "workers": 1, **more})
        self.registry.process(report)
        return report

    def take(self, **more: Any) -> None:
        report = self.report(**more)
        self.state.add_report(self.registry.nodes["a"], report)


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep the run store from being written."""
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


# Changes


def test_a_change_of_the_plan_has_the_next_version_and_is_published(parts: Parts) -> None:
    run = parts.begin()
    parts.state.apply([PlanChange({"status": "stopping"}), PlanChange({"force": True})])
    assert (run.plan.version, run.status, run.plan.force) == (3, "stopping", True)
    assert [(p.version, p.force) for p in parts.told.plans()] == [(2, False), (3, True)]
    assert parts.told.plans()[-1] == run.plan == parts.state.plan


def test_changes_hold_in_their_order(parts: Parts) -> None:
    run = parts.begin()
    parts.state.apply(
        [
            RunChange({"stopping_at": 4.0, "final_status": "failed"}),
            NewEvent("stop", "gently"),
            TransientChange({"uncounted": True}),
        ]
    )
    assert (run.stopping_at, run.final_status) == (4.0, "failed")
    assert [(event.kind, event.text) for event in run.events] == [("stop", "gently")]
    assert parts.state.transient.uncounted
    assert not parts.told, "nothing of that is told to nodes"


def test_without_a_run_there_is_nothing_to_change(parts: Parts) -> None:
    parts.state.apply([PlanChange({"force": True}), NewEvent("x", "y"), EndRun(1.0)])
    parts.state.advance()
    parts.state.reassign_users()
    assert parts.state.plan == Plan()
    assert not parts.told


def test_the_end_of_a_run_sets_its_last_status(parts: Parts) -> None:
    run = parts.begin("stopping")
    run.final_status = "failed"
    parts.take(seconds=((1000, Snapshot(iterations=3)),))
    parts.state.apply([EndRun(1234.0)])
    assert (run.status, run.ended_at) == ("failed", 1234.0)
    assert parts.state.ended.is_set()
    assert [row.second for row in run.results.rows] == [1000]
    assert parts.told.plans()[-1].status == "failed"
    parts.begin()
    assert not parts.state.ended.is_set()


def test_advance_applies_the_changes_that_are_due(parts: Parts) -> None:
    run = parts.begin("starting")
    parts.take()
    parts.state.advance()
    assert run.status == "running"
    assert run.started_at
    parts.registry.nodes["a"].lost = True
    parts.state.react(Lost(parts.registry.nodes["a"]))
    assert [event.kind for event in run.events] == ["node-lost"]
    assert parts.state.transient.unplaced_since < ALL_PLACED
    parts.state.reassign_users()
    assert parts.state.transient.unplaced_since == ALL_PLACED
    assert run.plan.moves == (), "there is no other node"


def test_node_events_do_not_change_an_ended_run(parts: Parts) -> None:
    run = parts.begin("stopping")
    parts.take()
    parts.state.apply([EndRun(1.0)])
    parts.state.react(Lost(parts.registry.nodes["a"]))
    assert run.events == []


@pytest.mark.parametrize(
    ("version", "then"),
    [(1, 1), (2, 3), (9, 10), (1 + VERSIONS_LOST_MAX, 2 + VERSIONS_LOST_MAX)],
)
def test_the_plan_gets_a_higher_version_than_the_last_masters(
    parts: Parts, version: int, then: int
) -> None:
    run = parts.begin()
    parts.state.apply([RaiseVersion(version)])
    assert run.plan.version == parts.state.version == then
    assert [event.kind for event in run.events] == (["plan-lost"] if then > 1 else [])


def test_an_implausible_plan_version_is_ignored(parts: Parts) -> None:
    run = parts.begin()
    parts.state.apply([RaiseVersion(2 + VERSIONS_LOST_MAX)])
    assert run.plan.version == 1


# Reports


def test_a_report_is_added_to_its_run(parts: Parts) -> None:
    run = parts.begin()
    event, failure = Event(1.0, "stuck", "users 3"), Failure("no")
    seconds = ((1000, Snapshot(iterations=3)),)
    users = UserCounts(running=8)
    parts.take(ended=((1, 2),), events=(event,), failure=failure, seconds=seconds, users=users)
    assert [*run.ended_ids] == [(1, 2)]
    assert (run.events, run.failure) == ([event], failure)
    assert parts.state.transient.uncounted
    parts.state.count_users()
    assert run.users == UserCounts(running=8, done=2)
    assert not parts.state.transient.uncounted
    run.results.merge_collected(lambda *_: None)
    assert run.results.total.iterations == 3


def test_a_report_of_another_run_is_ignored(parts: Parts) -> None:
    run = parts.begin()
    report = Report("a", "life", 1, "other", "ready", ended=((1, 2),), failure=Failure("no"))
    parts.registry.process(report)
    parts.state.add_report(parts.registry.nodes["a"], report)
    assert not len(run.ended_ids)
    assert run.failure is None


# What nodes are told


def test_a_beat_has_the_version_and_no_plan(parts: Parts) -> None:
    parts.begin()
    parts.state.beat()
    parts.state.publish()
    (beat, (alone,)), (plan, (with_it, _)) = parts.told
    assert (beat, plan) == (BEAT, PLAN)
    assert decode_beat(alone).version == decode_beat(with_it).version == 1
    assert decode_beat(alone).incarnation == decode_beat(with_it).incarnation


# The store


def test_a_change_is_stored_before_it_is_published(file: Path) -> None:
    parts = Parts(file)
    run = parts.begin()
    stored = []
    send = parts.told.send

    def look(topic: bytes, *frames: bytes) -> None:
        with Store(file) as store:
            stored.append(store.load(run.id).plan.version)
        send(topic, *frames)

    parts.told.send = look  # type: ignore[method-assign]
    parts.state.apply([PlanChange({"options": Options(user_rate=5.0)})])
    assert stored == [2]


def test_a_change_that_must_be_stored_and_cannot_be_is_rejected(file: Path) -> None:
    parts = Parts(file)
    run = parts.begin()
    before = run.plan
    with locked(file), pytest.raises(AmocError, match=r"cannot be written.*nothing was changed"):
        parts.state.apply([PlanChange({"force": True}), NewEvent("x", "y")], must_store=True)
    assert run.plan == before
    assert run.events == []
    assert parts.told.plans() == []
    parts.state.apply([PlanChange({"force": True})], must_store=True)
    assert run.plan.version == 2


def test_a_change_that_need_not_be_stored_applies_in_memory(file: Path) -> None:
    parts = Parts(file)
    run = parts.begin()
    with locked(file):
        parts.state.apply([PlanChange({"force": True})])
        assert parts.saver.unwritten
    assert run.plan.version == 2
    assert "cannot be written" in parts.saver.store_error
    assert parts.saver.save()
    assert (parts.saver.store_error, parts.saver.unwritten) == ("", False)


def test_a_run_that_cannot_be_stored_does_not_begin(file: Path) -> None:
    parts = Parts(file)
    first = parts.begin("stopping")
    parts.state.apply([EndRun(1.0)])
    with locked(file), pytest.raises(AmocError, match="no run was started"):
        parts.begin()
    assert parts.state.run is first
    assert parts.state.ended.is_set()


def test_the_next_master_goes_on_with_the_run_and_looks_for_its_users(file: Path) -> None:
    parts = Parts(file)
    run = parts.begin()
    parts.take(ended=((1, 2),))
    parts.state.apply([PlanChange({"pauses": ((5.0, 6.0),)}), NewEvent("x", "y")])
    parts.saver.save()
    again = Parts(file)
    assert again.state.run is not None
    assert again.state.plan == run.plan
    assert again.state.version == 2
    assert again.state.inherited
    assert again.state.transient.unplaced_since < ALL_PLACED
    assert [*again.state.run.ended_ids] == [(1, 2)]
    assert again.saver.code == b"code"


def test_reports_are_acknowledged_once_they_are_stored(file: Path) -> None:
    parts = Parts(file)
    parts.begin()
    parts.take()
    node = parts.registry.nodes["a"]
    with locked(file):
        assert not parts.saver.save()
        assert node.saved == 0
    assert parts.saver.save()
    assert node.saved == 1
