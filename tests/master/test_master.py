"""The master, with nodes that are played by the test: commands against states, reports, the end."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import gevent
import msgpack
import pytest

from amoc_gevent import clock
from amoc_gevent.bus.directory import SocketDirectory
from amoc_gevent.bus.sockets import Listener, Pusher
from amoc_gevent.bus.topics import PLAN, ack_topic
from amoc_gevent.core.answers import Changed, Description
from amoc_gevent.core.json_codec import as_json
from amoc_gevent.core.manifest import DeclaredSetting, Manifest
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import (
    Ack,
    Event,
    Failure,
    Report,
    State,
    UserCounts,
    decode_ack,
    decode_plan,
    encode,
)
from amoc_gevent.core.run import lifecycle
from amoc_gevent.core.run.commands import (
    ID_MAX,
    Add,
    Describe,
    Do,
    Pause,
    Rebalance,
    Remove,
    Resume,
    Set,
    Status,
    Stop,
)
from amoc_gevent.core.run.placement import shares_of
from amoc_gevent.core.run.plan import UNRELEASED, Options, Plan, Proposal, Removal, delayed
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.master import registry as registry_module
from amoc_gevent.master.master import NO_LEASE, Master
from amoc_gevent.master.store import Store
from tests.worker.crowd import until


class PlayedNode:
    """A node whose reports the test writes; `plan` is the last that reached it."""

    def __init__(self, name: str, sockets: SocketDirectory) -> None:
        self.name = name
        self.plan = Plan()
        self.plans: list[Plan] = []
        self.sequence = 0
        self.obeys = False
        self.incarnation, self.place = "life", "here"
        self.users = UserCounts()
        self.acks: list[Ack] = []
        self._plans = Listener(sockets.endpoint("plans"), (PLAN, ack_topic(name)))
        self._reports = Pusher(sockets.endpoint("reports"))
        self._listening = gevent.spawn(self._listen)

    def _listen(self) -> None:
        while True:
            topic, frames = self._plans.receive()
            if topic != PLAN:
                self.acks.append(decode_ack(frames[0]))
                continue
            self.plan = decode_plan(frames[1])
            self.plans.append(self.plan)
            if self.obeys:
                stopped = self.plan.status not in {"starting", "running"}
                self.say("stopped" if stopped else "ready")

    def report(self, state: State = "ready", **more: Any) -> Report:
        """Return the next report, and do not send it."""
        self.sequence += 1
        said = {"run": self.plan.run, "plan_version": self.plan.version, "workers": 2, **more}
        said.setdefault("sent", clock.monotonic())
        said.setdefault("place", self.place)
        return Report(self.name, self.incarnation, self.sequence, state=state, **said)

    def send(self, report: Report) -> None:
        self._reports.push(encode(report))

    def say(self, state: State = "ready", **more: Any) -> None:
        self.send(self.report(state, **more))

    def garble(self, data: bytes) -> None:
        self._reports.push(data)

    def close(self) -> None:
        self._listening.kill()
        self._plans.close()
        self._reports.close()


class Stage:
    """A master and its played nodes."""

    def __init__(
        self, directory: Path, lease: float = NO_LEASE, store: Store | None = None
    ) -> None:
        self.sockets = SocketDirectory()
        self._lease = lease
        self._start_master(store)
        self.nodes: list[PlayedNode] = []
        self.scenario = directory / "played.py"
        self.scenario.write_text("def init():\n    pass\n\n\ndef start(user_id):\n    pass\n")

    def _start_master(self, store: Store | None) -> None:
        self._store = store
        plans, reports = self.sockets.endpoint("plans"), self.sockets.endpoint("reports")
        self.master = Master(plans, reports, lease=self._lease, store=store)

    def replace_master(self, store: Store) -> None:
        """Have the master end, and another one begin."""
        self._end_master()
        self._start_master(store)

    def _end_master(self) -> None:
        self.master.close()
        if self._store is not None:
            self._store.close()

    def join(self, name: str = "a") -> PlayedNode:
        """Have a node join."""
        node = PlayedNode(name, self.sockets)
        self.nodes.append(node)
        node.say("stopped")
        until(lambda: name in self.master.nodes, f"node {name} to join")
        return node

    def do(self, first: int = 1, last: int = 10, **more: Any) -> Run:
        """Start a run."""
        options = more.pop("options", Options(user_rate=100.0))
        self.master.handle(Do(str(self.scenario), first, last, options=options, **more))
        return self.run

    def running(self, *names: str, **more: Any) -> Run:
        """Start a run on new nodes, and bring it so far that users start."""
        for name in names or ("a",):
            self.join(name)
        run = self.do(**more)
        for node in self.nodes:
            until(lambda node=node: node.plan.run == run.id, "the plan")
            node.say()
        until(lambda: run.status == "running", "the run to be released")
        for node in self.nodes:
            until(lambda node=node: node.plan.status == "running", "the released plan")
        return run

    @property
    def run(self) -> Run:
        """The present run."""
        assert self.master.run is not None
        return self.master.run

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        self._end_master()
        self.sockets.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    found = Stage(tmp_path)
    yield found
    found.close()


def status_users(stage: Stage) -> dict[str, int]:
    users = as_json(stage.master.handle(Status()))["users"]
    assert isinstance(users, dict)
    return users


# Commands against the state


def test_without_a_node_nothing_can_run(stage: Stage) -> None:
    with pytest.raises(AmocError, match="no node has joined"):
        stage.do()
    assert as_json(stage.master.handle(Status())) == {"status": "idle", "nodes": 0}


@pytest.mark.parametrize(
    "command", [Add(1), Remove(1), Set("user_rate", "5"), Stop()], ids=lambda c: type(c).__name__
)
def test_without_a_run_there_is_nothing_to_change(stage: Stage, command: Any) -> None:
    stage.join()
    with pytest.raises(AmocError, match="there is no run: start one with"):
        stage.master.handle(command)


@pytest.mark.parametrize(
    "command", [Add(1), Remove(1), Set("user_rate", "5")], ids=lambda c: type(c).__name__
)
def test_a_run_that_stops_takes_no_more_commands(stage: Stage, command: Any) -> None:
    run = stage.running()
    stage.master.handle(Stop())
    with pytest.raises(AmocError, match=f"run {run.id} is stopping"):
        stage.master.handle(command)


def test_there_is_one_run_at_a_time(stage: Stage) -> None:
    run = stage.running()
    with pytest.raises(AmocError, match=f"run {run.id} is running: stop it"):
        stage.do()


def test_after_a_run_there_can_be_another(stage: Stage) -> None:
    first = stage.running()
    stage.nodes[0].obeys = True
    stage.master.handle(Stop())
    assert stage.master.ended.wait(20)
    assert not first.active
    second = stage.do()
    assert not stage.master.ended.is_set()
    until(lambda: second.status == "running")
    assert second.id != first.id
    assert first.status == "finished"


@pytest.mark.parametrize(
    ("first", "last"), [(0, 5), (-3, 5), (6, 5), (1, ID_MAX + 1), (10**30, 10**31)]
)
def test_users_begin_at_one_and_the_lowest_comes_first(stage: Stage, first: int, last: int) -> None:
    stage.join()
    with pytest.raises(UsageError, match=r"FIRST must not be above LAST|ids are from 1 to"):
        stage.do(first, last)
    assert stage.master.run is None


def test_a_run_of_no_duration_is_refused(stage: Stage) -> None:
    stage.join()
    with pytest.raises(UsageError, match="duration 0s: it must be above 0"):
        stage.do(duration=0.0)
    assert stage.master.run is None


@pytest.mark.parametrize("command", [Add(0), Add(-1), Add(10**30), Remove(0), Remove(-5)])
def test_numbers_of_users_are_sensible(stage: Stage, command: Add | Remove) -> None:
    run = stage.running()
    before = run.plan
    with pytest.raises(UsageError, match=f"{type(command).__name__.lower()} {command.count}: "):
        stage.master.handle(command)
    assert run.plan == before


def test_added_users_get_the_ids_after_the_highest_ever_used(stage: Stage) -> None:
    run = stage.running()
    stage.master.handle(Remove(5))
    assert as_json(stage.master.handle(Add(3))) == {"first": 11, "last": 13}
    assert as_json(stage.master.handle(Add(1))) == {"first": 14, "last": 14}
    assert [(b.first, b.last) for b in run.plan.batches] == [(1, 10), (11, 13), (14, 14)]


def test_added_users_start_after_those_before_them_at_the_same_rate(stage: Stage) -> None:
    run = stage.running(options=Options(user_rate=10.0))
    stage.master.handle(Add(5))
    stage.master.handle(Add(5))
    slots = [b.slot(one) for b in run.plan.batches for one in range(b.first, b.last + 1)]
    gaps = [later - earlier for earlier, later in pairwise(slots)]
    assert gaps == pytest.approx([0.1] * 19, abs=1e-4)


def test_users_added_while_the_run_starts_wait_for_it_with_the_others(stage: Stage) -> None:
    node = stage.join()
    run = stage.do()
    stage.master.handle(Add(2))
    assert [b.start for b in run.plan.batches] == [UNRELEASED, UNRELEASED]
    until(lambda: node.plan.run == run.id)
    node.say()
    until(lambda: run.status == "running")
    first, second = run.plan.batches
    assert second.start == pytest.approx(first.start + 10 / 100)


def test_batches_go_round_robin_over_the_nodes_from_where_the_last_one_ended(
    stage: Stage,
) -> None:
    run = stage.running("a", "b", "c", last=4)
    stage.master.handle(Add(1))
    stage.master.handle(Add(1))
    assert [b.nodes for b in run.plan.batches] == [
        ("a", "b", "c"),
        ("b", "c", "a"),
        ("c", "a", "b"),
    ]


def test_a_removal_takes_the_highest_ids_and_at_most_all(stage: Stage) -> None:
    run = stage.running()
    assert as_json(stage.master.handle(Remove(3))) == {"removed": 3, "asked": 3}
    assert as_json(stage.master.handle(Remove(99, force=True))) == {"removed": 7, "asked": 99}
    assert as_json(stage.master.handle(Remove(1))) == {"removed": 0, "asked": 1}
    assert run.plan.removals == (Removal(8, 10, force=False), Removal(1, 7, force=True))


def test_a_removal_passes_over_those_that_ended_by_themselves(stage: Stage) -> None:
    run = stage.running()
    stage.nodes[0].say(ended=((9, 10),))
    until(lambda: len(run.ended_ids) == 2)
    assert as_json(stage.master.handle(Remove(2))) == {"removed": 2, "asked": 2}
    assert run.plan.removals == (Removal(7, 8, force=False),)


def test_a_run_whose_users_were_all_removed_goes_on(stage: Stage) -> None:
    run = stage.running()
    stage.master.handle(Remove(10))
    stage.nodes[0].say(users=UserCounts(done=10))
    until(lambda: run.users.done == 10)
    stage.master.handle(Add(1))
    assert run.status == "running"


def test_a_run_ends_when_all_its_users_have(stage: Stage) -> None:
    run = stage.running()
    stage.nodes[0].obeys = True
    stage.nodes[0].say(users=UserCounts(done=9), ended=((1, 9),))
    until(lambda: run.users.done == 9)
    stage.master.handle(Remove(1))
    stage.nodes[0].say(users=UserCounts(done=10))
    assert stage.master.ended.wait(20)
    assert run.status == "finished"


def test_users_whom_their_nodes_call_done_and_whose_ids_did_not_end_are_not(stage: Stage) -> None:
    """A node that was lost may say so of users whom others have by now."""
    run = stage.running("a", "b")
    one, other = stage.nodes
    one.say(users=UserCounts(done=10))
    other.say(users=UserCounts(running=8, done=12))
    until(lambda: run.users.running == 8)
    assert status_users(stage) == {"waiting": 2, "running": 8, "resting": 0, "done": 0}
    other.say(users=UserCounts(running=10, done=12))
    until(lambda: run.users.running == 10)
    other.say(users=UserCounts(running=1, done=12), ended=((2, 10),))
    until(lambda: run.users.running == 1)
    assert (run.status, run.users) == ("running", UserCounts(running=1, done=9))


@pytest.mark.parametrize("ended", [(-5, 3), (8, 2**52)])
def test_users_of_other_runs_do_not_end_this_one(stage: Stage, ended: tuple[int, int]) -> None:
    run = stage.running()
    stage.nodes[0].say(users=UserCounts(running=10 - 3), ended=(ended,))
    until(lambda: run.users.done)
    assert status_users(stage) == {"waiting": 0, "running": 7, "resting": 0, "done": 3}


def test_an_option_changes_in_the_plan(stage: Stage) -> None:
    run = stage.running()
    assert as_json(stage.master.handle(Set("repeat_interval", "5s"))) == {"repeat_interval": "5s"}
    assert run.plan.options.repeat_interval == 5.0
    with pytest.raises(UsageError, match="user_rate: 'no' is not a rate"):
        stage.master.handle(Set("user_rate", "no"))


# Settings


def answers(stage: Stage, answer: Callable[[PlayedNode, Proposal], None]) -> None:
    """Have each node answer the first proposal that reaches it."""

    def wait(node: PlayedNode) -> None:
        until(lambda: node.plan.proposal is not None, "a proposal")
        assert node.plan.proposal is not None
        answer(node, node.plan.proposal)

    for node in stage.nodes:
        gevent.spawn(wait, node)


def test_a_setting_is_proposed_and_enters_the_plan_once_all_took_it(stage: Stage) -> None:
    run = stage.running("a", "b", settings={"old": "1"})
    settings_when_asked = []

    def take(node: PlayedNode, proposal: Proposal) -> None:
        settings_when_asked.append(dict(node.plan.settings))
        assert (proposal.name, proposal.text) == ("pause", "5s")
        node.say()

    answers(stage, take)
    assert as_json(stage.master.handle(Set("pause", "5s"))) == {"pause": "5s"}
    assert settings_when_asked == [{"old": "1"}] * 2
    assert run.plan.settings == {"old": "1", "pause": "5s"}
    assert run.plan.proposal is None


def test_what_one_worker_refuses_is_its_own_error_and_never_enters_the_plan(
    stage: Stage,
) -> None:
    run = stage.running("a", "b")

    def answer(node: PlayedNode, _proposal: Proposal) -> None:
        refused = (Event(1.0, "set-refused", "setting pause: 'x' is not a time"),)
        node.say(events=refused if node.name == "b" else ())

    answers(stage, answer)
    with pytest.raises(UsageError, match="setting pause: 'x' is not a time"):
        stage.master.handle(Set("pause", "x"))
    assert run.plan.settings == {}
    assert run.plan.proposal is None


def test_the_same_refusal_by_several_workers_is_one_event_for_each_set(stage: Stage) -> None:
    run = stage.running("a", "b")

    def answer(node: PlayedNode, _proposal: Proposal) -> None:
        same, own = Event(1.0, "set-refused", "'x' is not a time"), f"no, says {node.name}"
        node.say(events=(same, same, Event(1.0, "set-refused", own)))

    for _ in range(2):
        until(lambda: not any(node.plan.proposal for node in stage.nodes), "no open proposal")
        answers(stage, answer)
        with pytest.raises(UsageError, match="'x' is not a time"):
            stage.master.handle(Set("pause", "x"))
    texts = [event.text for event in run.events if event.kind == "set-refused"]
    assert texts.count("'x' is not a time") == 2
    assert (texts.count("no, says a"), texts.count("no, says b")) == (2, 2)


def test_a_setting_waits_for_the_run_to_run(stage: Stage) -> None:
    stage.join()
    run = stage.do()
    with pytest.raises(AmocError, match="is starting: set pause once it runs"):
        stage.master.handle(Set("pause", "5s"))
    assert run.plan.proposal is None


def test_two_settings_at_once_do_not_answer_for_each_other(stage: Stage) -> None:
    run = stage.running()
    node = stage.nodes[0]

    def answer_each() -> None:
        seen = 0
        while True:
            proposal = node.plan.proposal
            if proposal is not None and proposal.number != seen:
                seen = proposal.number
                refused = (Event(1.0, "set-refused", f"no {proposal.name}"),)
                node.say(events=refused if proposal.name == "bad" else ())
            elif proposal is None:
                node.say()
            gevent.sleep(0.001)

    playing = gevent.spawn(answer_each)
    good = gevent.spawn_later(0.01, stage.master.handle, Set("good", "1"))
    with pytest.raises(UsageError, match="no bad"):
        stage.master.handle(Set("bad", "1"))
    assert good.get(timeout=20) == Changed("good", "1")
    playing.kill()
    assert run.plan.settings == {"good": "1"}


# Reports


def second(number: int, iterations: int) -> tuple[tuple[int, Snapshot], ...]:
    return ((number, Snapshot(iterations=iterations, counters={"orders": iterations})),)


def test_each_report_counts_once_whatever_order_and_however_often_it_comes(
    stage: Stage,
) -> None:
    run = stage.running()
    node = stage.nodes[0]
    before = node.sequence
    reports = [node.report(seconds=second(1000 + n, 2**n)) for n in range(8)]
    for at in (7, 0, 0, 3, 1, 7, 2, 6, 5, 4, 4, 0):
        node.send(reports[at])
    until(lambda: stage.master.nodes["a"].acknowledged == before + 8)
    until(lambda: run.results.total.iterations >= 255)
    assert run.results.total.iterations == 255
    assert stage.master.counted["repeated reports"] == 4
    assert run.results.total.counters == {"orders": 255}


def test_reports_are_acknowledged_up_to_the_first_that_is_missing(stage: Stage) -> None:
    stage.running()
    node = stage.nodes[0]
    missing, after = node.report(), node.report()
    node.send(after)
    until(lambda: node.acks and node.acks[-1].sent == after.sent)
    assert node.acks[-1].sequence == missing.sequence - 1
    node.send(missing)
    until(lambda: node.acks[-1].sequence == after.sequence)
    assert node.acks[-1].incarnation == "life"


def test_a_node_that_was_started_again_counts_from_one_again(stage: Stage) -> None:
    run = stage.running()
    node = stage.nodes[0]
    again = replace(node.report(seconds=second(1000, 5)), incarnation="next", sequence=1)
    node.send(again)
    until(lambda: run.results.total.iterations == 5)
    node.send(replace(again, seconds=second(1001, 7), sequence=2))
    until(lambda: run.results.total.iterations == 12)


def test_garbage_is_passed_over(stage: Stage) -> None:
    run = stage.running()
    node = stage.nodes[0]
    for data in (b"", b"\xc1", b"GET / HTTP/1.1\r\n\r\n", encode(Plan())):
        node.garble(data)
    node.say(seconds=second(1000, 3))
    until(lambda: run.results.total.iterations == 3)
    assert [event.kind for event in run.events].count("report-refused") == 4


def test_a_report_of_another_run_is_acknowledged_and_not_counted(stage: Stage) -> None:
    run = stage.running()
    node = stage.nodes[0]
    node.say(run="another", seconds=second(1000, 3), failure=Failure("no"))
    node.say(seconds=second(1000, 4))
    until(lambda: run.results.total.iterations == 4)
    assert stage.master.nodes["a"].acknowledged == node.sequence
    assert run.failure is None


def test_users_that_no_worker_has_reported_are_waiting(stage: Stage) -> None:
    stage.running("a", "b")
    assert status_users(stage) == {"waiting": 10, "running": 0, "resting": 0, "done": 0}
    stage.nodes[0].say(users=UserCounts(1, 2, 1, 1), ended=((1, 1),))
    until(lambda: status_users(stage)["running"] == 2)
    assert status_users(stage) == {"waiting": 6, "running": 2, "resting": 1, "done": 1}
    stage.master.handle(Add(5))
    assert status_users(stage)["waiting"] == 11


def test_the_users_of_the_run_before_are_not_counted_in_this_one(stage: Stage) -> None:
    stage.running("a", "b")
    for node in stage.nodes:
        node.say(users=UserCounts(running=5))
        node.obeys = True
    until(lambda: status_users(stage)["running"] == 10)
    stage.master.handle(Stop())
    assert stage.master.ended.wait(20)
    for node in stage.nodes:
        node.obeys = False
    stage.do(last=4)
    assert status_users(stage) == {"waiting": 4, "running": 0, "resting": 0, "done": 0}


# The life of a run


def test_users_are_released_when_all_nodes_are_ready_and_not_before(stage: Stage) -> None:
    first, second_node = stage.join("a"), stage.join("b")
    run = stage.do()
    for node in stage.nodes:
        until(lambda node=node: node.plan.run == run.id)
    first.say()
    second_node.say("starting")
    until(lambda: stage.master.nodes["b"].state == "starting")
    later = first.report()
    first.send(later)
    until(lambda: first.acks and first.acks[-1].sequence == later.sequence)
    assert run.status == "starting"
    assert first.plan.batches[0].start == UNRELEASED
    second_node.say()
    until(lambda: first.plan.status == second_node.plan.status == "running")
    assert first.plan.batches[0].start == run.started_at


def test_a_failure_before_the_start_ends_the_run_before_any_user(stage: Stage) -> None:
    node = stage.join()
    run = stage.do()
    until(lambda: node.plan.run == run.id)
    node.say("failed", failure=Failure("hello.py:3: init raised", "trace"))
    until(lambda: node.plan.status == "stopping")
    assert node.plan.force
    node.say("stopped")
    assert stage.master.ended.wait(20)
    assert (run.status, run.started_at) == ("failed", 0.0)
    assert run.failure == Failure("hello.py:3: init raised", "trace")
    assert all(b.start == UNRELEASED for plan in node.plans for b in plan.batches)


def test_the_first_of_two_failures_is_the_runs(stage: Stage) -> None:
    run = stage.running("a", "b")
    stage.nodes[0].say(failure=Failure("first"))
    until(lambda: run.failure is not None)
    stage.nodes[1].say(failure=Failure("second"))
    for node in stage.nodes:
        node.obeys = True
    assert stage.master.ended.wait(20)
    assert run.failure == Failure("first")
    assert run.status == "failed"


def test_a_stop_becomes_one_by_force_when_its_time_is_over(stage: Stage) -> None:
    run = stage.running(options=Options(user_rate=100.0, stop_timeout=0.05))
    node = stage.nodes[0]
    stage.master.handle(Stop())
    assert not run.plan.force
    until(lambda: node.plan.status == "stopping" and node.plan.force)
    assert run.active
    assert [event.text for event in run.events if event.kind == "stop"] == [
        "gently",
        "by force: users did not end within 50ms",
    ]
    node.say("stopped")
    assert stage.master.ended.wait(20)
    assert run.status == "finished"


def test_a_second_stop_by_force_does_not_wait(stage: Stage) -> None:
    run = stage.running(options=Options(user_rate=100.0, stop_timeout=3600.0))
    stage.master.handle(Stop())
    assert as_json(stage.master.handle(Stop(force=True))) == {
        "run": run.id,
        "status": "stopping",
        "force": True,
    }
    until(lambda: stage.nodes[0].plan.force)
    stage.master.handle(Stop(force=True))
    assert [event.text for event in run.events if event.kind == "stop"] == ["gently", "by force"]


def test_a_gentle_stop_does_not_take_back_a_forced_one(stage: Stage) -> None:
    stage.running()
    stage.master.handle(Stop(force=True))
    assert as_json(stage.master.handle(Stop()))["force"] is True


def test_a_run_does_not_end_while_a_report_is_missing(stage: Stage) -> None:
    run = stage.running()
    node = stage.nodes[0]
    stage.master.handle(Stop())
    until(lambda: node.plan.status == "stopping")
    lost = node.report(seconds=second(1000, 3))
    node.say("stopped")
    until(lambda: stage.master.nodes["a"].state == "stopped")
    assert not stage.master.ended.wait(0.15)
    node.send(lost)
    assert stage.master.ended.wait(20)
    assert run.results.total.iterations == 3


def test_the_duration_ends_a_run_gently(stage: Stage) -> None:
    run = stage.running(duration=0.1)
    node = stage.nodes[0]
    until(lambda: node.plan.status == "stopping")
    assert not node.plan.force
    assert run.stopping_at >= run.started_at + 0.1
    node.say("stopped")
    assert stage.master.ended.wait(20)


def test_a_run_can_be_stopped_while_it_starts(stage: Stage) -> None:
    node = stage.join()
    run = stage.do()
    stage.master.handle(Stop())
    node.obeys = True
    assert stage.master.ended.wait(20)
    assert (run.status, run.started_at) == ("finished", 0.0)


def test_the_events_of_a_run_record_its_changes(stage: Stage) -> None:
    run = stage.running(comment="why")
    stage.master.handle(Add(2))
    stage.master.handle(Remove(3, force=True))
    stage.master.handle(Set("user_rate", "5/s"))
    stage.master.handle(Stop())
    assert [(event.kind, event.text) for event in run.events] == [
        ("start", "played with users 1 to 10"),
        ("add", "2 users, 11 to 12"),
        ("remove", "3 users by force"),
        ("set", "user_rate = 5/s"),
        ("stop", "gently"),
    ]


# Nodes that come, go and are lost


@pytest.fixture
def leased(tmp_path: Path) -> Iterator[Stage]:
    """A master that waits for a silent node for 0.4 s, with a run store."""
    found = Stage(tmp_path, lease=0.4, store=Store(tmp_path / "runs.db"))
    yield found
    found.close()


def talking(stage: Stage, *names: str) -> Any:
    """Have nodes report again and again, so that they are not lost."""

    def talk() -> None:
        while True:
            for node in stage.nodes:
                if node.name in names:
                    node.say(users=node.users)
            gevent.sleep(0.05)

    return gevent.spawn(talk)


def test_users_of_a_silent_node_are_moved_to_the_others(leased: Stage) -> None:
    run = leased.running("a", "b", "c")
    talk = talking(leased, "a", "c")
    until(lambda: run.plan.moves, "the loss of b")
    assert leased.master.nodes["b"].lost
    (move,) = run.plan.moves
    assert (move.sources, sorted(move.destinations), move.first) == (("b",), ["a", "c"], 0)
    assert move.start > run.started_at
    events = [event for event in run.events if event.kind == "node-lost"]
    assert [event.text for event in events] == [
        "node b sent no report for its lease; its users start on the others"
    ]
    talk.kill()


def test_users_of_nodes_lost_at_once_are_moved_at_once(leased: Stage) -> None:
    run = leased.running("a", "b", "c", "d", last=8)
    talk = talking(leased, "a", "d")
    version = run.plan.version
    until(lambda: run.plan.moves, "the loss of b and c")
    (move,) = run.plan.moves
    assert (move.sources, sorted(move.destinations)) == (("b", "c"), ["a", "d"])
    assert run.plan.version == version + 1
    talk.kill()


def test_users_of_nodes_lost_one_after_the_other_are_moved_together(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lease=3.0)
    run = stage.running("a", "b", "c", last=6)
    talk, longer = talking(stage, "a"), talking(stage, "c")
    since = clock.monotonic()
    until(lambda: clock.monotonic() > since + 0.5, "c to be heard for longer than b")
    longer.kill()
    until(lambda: run.plan.moves, "the loss of both")
    assert [move.sources for move in run.plan.moves] == [("b", "c")]
    talk.kill()
    stage.close()


def test_of_a_run_of_many_nodes_the_last_counts_are_the_last(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stage.running("a", "b")
    monkeypatch.setattr(lifecycle, "min_interval", lambda _nodes: 1000.0)
    stage.master.handle(Stop())
    for node in stage.nodes:
        until(lambda node=node: node.plan.status == "stopping")
        node.say("stopped", users=UserCounts(done=5))
    until(lambda: run.status == "finished")
    assert run.users == UserCounts(done=10)


def test_a_lost_node_that_is_heard_again_has_nobody_until_the_next_batch(leased: Stage) -> None:
    run = leased.running("a", "b")
    talk = talking(leased, "a")
    until(lambda: run.plan.moves, "the loss of b")
    leased.nodes[1].say()
    until(lambda: not leased.master.nodes["b"].lost)
    assert [e.text for e in run.events if e.kind == "node-back"] == ["node b reports again"]
    assert shares_of(run.plan, "b")["b"] == []
    talk.kill()
    both = talking(leased, "a", "b")
    leased.master.handle(Add(4))
    assert {*run.plan.batches[-1].nodes} == {"a", "b"}
    both.kill()


def test_where_users_shall_be_kept_a_lost_node_keeps_them(leased: Stage) -> None:
    run = leased.running("a", "b", options=Options(user_rate=100.0, on_node_loss="keep"))
    talk = talking(leased, "a")
    until(lambda: leased.master.nodes["b"].lost)
    assert run.plan.moves == ()
    assert run.events[-1].text.endswith("its users wait for it")
    talk.kill()


def test_users_of_a_lost_node_are_counted_as_waiting(leased: Stage) -> None:
    run = leased.running("a", "b", last=10)
    for node in leased.nodes:
        node.users = UserCounts(running=5)
    talk = talking(leased, "a", "b")
    until(lambda: status_users(leased)["running"] == 10)
    talk.kill()
    talk = talking(leased, "a")
    until(lambda: leased.master.nodes["b"].lost)
    assert status_users(leased) == {"waiting": 5, "running": 5, "resting": 0, "done": 0}
    assert run.status == "running"
    talk.kill()


def test_a_restarted_node_restarts_its_users(leased: Stage) -> None:
    run = leased.running("a", "b")
    talk = talking(leased, "a")
    leased.nodes[1].incarnation = "next"
    leased.nodes[1].sequence = 0
    leased.nodes[1].say("stopped", ended=((2, 2),))
    until(lambda: run.plan.moves)
    (move,) = run.plan.moves
    assert (move.sources, move.destinations) == (("b",), ())
    acks = leased.nodes[1].acks
    until(lambda: any(ack.incarnation == "next" and ack.lease for ack in acks), "a lease")
    version = run.plan.version
    assert all(a.version >= version for a in acks if a.incarnation == "next" and a.lease)
    talk.kill()


def test_a_second_node_of_a_name_is_refused_while_the_first_is_heard(leased: Stage) -> None:
    leased.running("a")
    talk = talking(leased, "a")
    other = PlayedNode("a", leased.sockets)
    other.incarnation, other.place = "other", "elsewhere"
    until(lambda: other.say("stopped") or (other.acks and other.acks[-1].refused))
    assert other.acks[-1].incarnation == "other"
    assert "is here already" in other.acks[-1].refused
    assert leased.master.nodes["a"].incarnation == "life"
    assert leased.master.counted["refused nodes"] == 1
    other.close()
    talk.kill()


def test_a_node_that_leaves_gives_its_users_away_at_once(leased: Stage) -> None:
    run = leased.running("a", "b")
    leased.nodes[1].say("stopped", left=True)
    until(lambda: run.plan.moves)
    assert [(move.sources, move.destinations) for move in run.plan.moves] == [(("b",), ("a",))]
    assert [event.text for event in run.events if event.kind == "node-left"] == [
        "node b left; its users start on the others"
    ]
    until(lambda: "b" not in leased.master.nodes, "b to be forgotten")


def test_a_granted_lease_ends_before_the_master_gives_users_away(leased: Stage) -> None:
    node = leased.join("a")
    until(lambda: node.acks)
    assert 0 < node.acks[-1].lease < 0.4


@pytest.mark.parametrize(
    ("name", "strange"),
    [("", True), ("x" * 101, True), ("a/b", True), ("a\nb", True), ("ok", False)],
)
def test_a_node_of_a_strange_name_is_refused(stage: Stage, name: str, strange: bool) -> None:
    node = PlayedNode(name, stage.sockets)
    node.say("stopped")
    until(lambda: stage.master.counted["refused reports"] or stage.master.nodes)
    assert bool(stage.master.counted["refused reports"]) is strange
    node.close()


# Where users are placed


def test_the_chosen_nodes_take_users_in_the_order_given(stage: Stage) -> None:
    for name in "abc":
        stage.join(name)
    run = stage.do(nodes=("c", "a"))
    assert run.plan.batches[0].nodes == ("c", "a")
    assert run.workers == 4


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"nodes": ("a", "z")}, "there is no node z; there are a, b"),
        ({"nodes": ("a", "a")}, "nodes a, a: give each node once"),
        ({"strategy": "random"}, "there is no strategy random; there are round-robin, blocks, cap"),
    ],
)
def test_unknown_nodes_and_strategies_are_named(stage: Stage, more: Any, told: str) -> None:
    stage.join("a")
    stage.join("b")
    with pytest.raises(UsageError, match=told):
        stage.do(**more)
    assert stage.master.run is None


def test_by_capacity_workers_count(stage: Stage) -> None:
    stage.join("a")
    big = PlayedNode("b", stage.sockets)
    stage.nodes.append(big)
    big.say("stopped", workers=6)
    until(lambda: "b" in stage.master.nodes)
    run = stage.do(strategy="capacity")
    assert sorted(run.plan.batches[0].nodes) == ["a"] * 2 + ["b"] * 6


def test_a_late_node_takes_part_from_the_next_add_on(stage: Stage) -> None:
    run = stage.running("a", last=10)
    stage.join("b")
    assert [e.kind for e in run.events] == ["start", "node-joined"]
    stage.master.handle(Add(4))
    assert run.plan.batches[1].nodes == ("b", "a")
    stage.master.handle(Add(1, nodes=("b",)))
    assert run.plan.batches[2].nodes == ("b",)


def test_users_are_removed_from_the_nodes_that_are_named(stage: Stage) -> None:
    run = stage.running("a", "b", last=10)
    stage.master.handle(Remove(2, nodes=("a",)))
    assert [[*removal.ids] for removal in run.plan.removals] == [[7, 9]]


def test_rebalancing_waits_until_the_sources_release_the_users(stage: Stage) -> None:
    run = stage.running("a", last=10)
    stage.join("b")
    first, second_ = stage.nodes
    stage.master.handle(Rebalance())
    assert [(m.sources, m.destinations, m.start) for m in run.plan.moves] == [
        (("a",), ("b",), UNRELEASED)
    ]
    with pytest.raises(AmocError, match="is still moving users"):
        stage.master.handle(Rebalance())
    held = run.plan.version
    until(lambda: second_.plan.version >= held)
    second_.say()
    until(lambda: first.plan.version >= held)
    assert run.plan.moves[0].start == UNRELEASED
    first.say()
    until(lambda: run.plan.moves[0].start != UNRELEASED)


def test_rebalancing_what_is_even_moves_nobody(stage: Stage) -> None:
    run = stage.running("a", "b", last=10)
    assert as_json(stage.master.handle(Rebalance())) == {"run": run.id, "moves": 0}


# Pauses


def test_users_that_are_added_in_a_pause_start_right_after_it(stage: Stage) -> None:
    run = stage.running(last=10)
    started = run.plan.batches[0].start + 10 / 100.0
    until(lambda: clock.steady() > started, "all users to have started")
    stage.master.handle(Pause())
    with pytest.raises(AmocError, match="is already paused"):
        stage.master.handle(Pause())
    stage.master.handle(Add(1))
    slot = run.plan.batches[1].start
    assert delayed(slot, run.plan.pauses) == UNRELEASED
    stage.master.handle(Resume())
    resumed = clock.steady()
    starts = delayed(slot, run.plan.pauses)
    assert resumed - 0.1 <= starts <= resumed + 0.1
    with pytest.raises(AmocError, match="is not paused"):
        stage.master.handle(Resume())


# A master that is started again


def test_a_new_master_goes_on_with_the_run_and_counts_each_report_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lease=30.0, store=Store(tmp_path / "runs.db"))
    run = stage.running("a", "b", comment="why")
    node = stage.nodes[0]
    reports = [node.report(seconds=second(1000 + n, 1), ended=((n + 1, n + 1),)) for n in range(4)]
    for report in reports[:2]:
        node.send(report)
    until(lambda: node.acks and node.acks[-1].sequence == reports[1].sequence, "two to be stored")
    stage.master.handle(Add(7))
    stage.replace_master(Store(tmp_path / "runs.db"))

    again = stage.run
    assert again is not run
    assert again.plan == run.plan
    assert (again.comment, again.assigned) == ("why", 17)
    assert [e.text for e in again.events] == [e.text for e in run.events]
    assert again.results.total.iterations == 2

    def send_all() -> None:
        for report in reports:
            node.send(report)

    until(lambda: send_all() or again.results.total.iterations >= 4)
    until(lambda: node.acks[-1].sequence == reports[3].sequence)
    assert again.results.total.iterations == 4
    assert [*again.ended_ids] == [(1, 4)]
    assert stage.master.counted["repeated reports"] >= 2

    stage.master.handle(Stop(force=True))
    for one in stage.nodes:
        until(lambda one=one: one.plan.status == "stopping")
        one.say("stopped")
    assert stage.master.ended.wait(20)
    stage.close()
    with Store(tmp_path / "runs.db") as store:
        assert store.active() is None
        (line,) = store.list()
        assert (line.run, line.status, line.users, line.comment) == (run.id, "finished", 17, "why")
        assert store.load(run.id).results.total.iterations == 4


def test_what_was_not_stored_is_not_acknowledged(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs.db")
    stage = Stage(tmp_path, lease=30.0, store=store)
    run = stage.running("a")
    node = stage.nodes[0]
    until(lambda: node.acks and node.acks[-1].sequence == node.sequence)
    locked = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    store._db.execute("PRAGMA busy_timeout = 1")
    before = node.sequence
    node.say(seconds=second(1000, 5))
    until(lambda: run.results.total.iterations == 5)
    until(lambda: node.acks[-1].sent > 0 and stage.master.store_error)
    assert node.acks[-1].sequence == before
    locked.execute("ROLLBACK")
    locked.close()
    until(lambda: node.acks[-1].sequence == node.sequence)
    stage.close()
    with Store(tmp_path / "runs.db") as again:
        assert again.load(run.id).results.total.iterations == 5


def test_nodes_are_not_lost_because_the_master_stood_still(
    leased: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    leased.join("a")
    node = leased.master.nodes["a"]
    registry = leased.master._registry
    now = clock.monotonic()
    monkeypatch.setattr(registry_module.clock, "monotonic", lambda: now + 10.0)
    registry.check_leases()
    assert not node.lost
    for step in range(12):
        monkeypatch.setattr(
            registry_module.clock, "monotonic", lambda at=step: now + 10 + at * 0.05
        )
        registry.check_leases()
    assert node.lost


def test_a_report_is_answered_once_and_as_soon_as_it_is_stored(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lease=30.0, store=Store(tmp_path / "runs.db"))
    stage.running("a")
    node = stage.nodes[0]
    until(lambda: node.acks and node.acks[-1].sequence == node.sequence)
    before = len(node.acks)
    for number in range(5):
        node.say(seconds=second(1000 + number, 1))
        until(lambda: node.acks[-1].sequence == node.sequence)
    assert len(node.acks) - before == 5
    stage.close()


# What the scenario declares


def manifest(default: str = "a", *operations: str) -> Manifest:
    url = DeclaredSetting("url", default, "", "str", "the shop", (), update=False)
    return Manifest("played", settings=(url,), operations=operations)


def test_nodes_that_disagree_fail_the_run_before_any_user_starts(stage: Stage) -> None:
    for name in ("a", "b"):
        stage.join(name)
    run = stage.do()
    for node, default in zip(stage.nodes, "xy", strict=True):
        until(lambda node=node: node.plan.run == run.id, "the plan")
        node.say(manifest=manifest(default))
    until(lambda: run.plan.status == "stopping", "the end of it")
    assert run.failure is not None
    assert (
        "setting url: default 'x' on node a, 'y' on node b; use the same files"
        in run.failure.message
    )
    assert run.plan.batches[0].start == UNRELEASED
    for node in stage.nodes:
        node.say("stopped")
    until(lambda: run.status == "failed")
    assert stage.do().failure is None


def test_a_node_that_comes_late_and_disagrees_fails_the_run_gently(stage: Stage) -> None:
    run = stage.running("a")
    stage.nodes[0].say(manifest=manifest("x"))
    until(lambda: run.declared is not None)
    late = stage.join("late")
    until(lambda: late.plan.run == run.id, "the plan")
    late.say(manifest=manifest("y"))
    until(lambda: run.plan.status == "stopping")
    assert not run.plan.force
    assert run.failure is not None
    assert "'x' on node a, 'y' on node late" in run.failure.message


def test_a_manifest_of_another_run_is_not_this_runs(stage: Stage) -> None:
    run = stage.running("a")
    stage.nodes[0].say(run="another", manifest=manifest("x"))
    stage.nodes[0].say(manifest=manifest("y"))
    until(lambda: run.declared is not None)
    stage.nodes[0].say(users=UserCounts(running=3))
    until(lambda: run.users.running == 3)
    assert (run.declared.manifest, run.failure) == (manifest("y"), None)


def test_describe_tells_what_was_loaded_and_which_operations_were_named(stage: Stage) -> None:
    with pytest.raises(AmocError, match="there is no run: `amoc describe SCENARIO` loads one"):
        stage.master.handle(Describe())
    run = stage.running("a", "b")
    with pytest.raises(AmocError, match="no node has loaded its scenario yet"):
        stage.master.handle(Describe())
    snapshot = Snapshot()
    snapshot.operation("GET /").count += 1
    stage.nodes[0].say(manifest=manifest("x", "warm up"))
    stage.nodes[1].say(manifest=manifest("x", "log in"), seconds=((1000, snapshot),))
    until(lambda: "GET /" in run.results.total.operations)
    told = stage.master.handle(Describe())
    assert isinstance(told, Description)
    assert (told.run, told.name) == (run.id, "played")
    assert told.operations == ("GET /", "log in", "warm up")
    assert [one.name for one in told.settings] == ["url"]


def test_a_manifest_too_large_is_a_refused_report(stage: Stage) -> None:
    run = stage.running("a")
    node = stage.nodes[0]
    whole = msgpack.unpackb(encode(node.report(manifest=manifest())), strict_map_key=False)
    whole[-1][1] = "x" * 300_000
    node.garble(msgpack.packb(whole))
    until(lambda: stage.master.counted["refused reports"] == 1)
    assert run.declared is None
