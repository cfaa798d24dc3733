"""What must not happen around a failure: users that run twice or nowhere, figures lost or doubled,
and parts of a daemon that are dead and tell nobody.
"""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import msgpack
import pytest

from amoc_gevent import clock
from amoc_gevent.core.json_codec import as_json
from amoc_gevent.core.manifest import Manifest
from amoc_gevent.core.measure.snapshot import Operation, Snapshot
from amoc_gevent.core.messages import Ack, UserCounts, encode
from amoc_gevent.core.output_state import StateChanges
from amoc_gevent.core.run.commands import Add, Rebalance, Status, Stop
from amoc_gevent.core.run.lifecycle import moving
from amoc_gevent.core.run.placement import Share, own_shares, shares_of
from amoc_gevent.core.run.plan import UNRELEASED, Options, Plan
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import AmocError
from amoc_gevent.master import run_saver
from amoc_gevent.master.store import Store
from amoc_gevent.node import outbox, process
from tests.master.test_master import PlayedNode, Stage, second, talking
from tests.master.test_store import replace_by_another
from tests.node import test_node
from tests.node.test_node import SCENARIO, plan_of, running, until_told
from tests.worker.crowd import Crowd, until


@pytest.fixture
def leased(tmp_path: Path) -> Iterator[Stage]:
    """A master that waits for a silent node for 0.6 s, with a run store."""
    found = Stage(tmp_path, lease=0.6, store=Store(tmp_path / "runs.db"))
    yield found
    found.close()


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Stage]:
    """A master that waits for long, with a run store."""
    found = Stage(tmp_path, lease=60.0, store=Store(tmp_path / "runs.db"))
    yield found
    found.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[test_node.Stage]:
    """A node and its played master."""
    found = test_node.Stage(tmp_path)
    yield found
    found.close()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep the run store from being written."""
    other = sqlite3.connect(directory / "runs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def alive(stage: Stage) -> bool:
    """Whether the master still listens, looks and answers."""
    loops = [stage.master._ticking, stage.master._receiver._collecting]
    return not any(loop.dead for loop in loops)


# Nothing that comes in ends a loop


def test_a_report_nested_too_deep_is_refused(stored: Stage) -> None:
    run = stored.running("a")
    node_ = stored.nodes[0]
    rest = msgpack.unpackb(encode(node_.report()), strict_map_key=False)[1:]
    head = b"\xdc" + (len(rest) + 1).to_bytes(2, "big") + b"\x91" * 900 + b"\xc0"
    node_.garble(head + b"".join(map(msgpack.packb, rest)))
    node_.say(seconds=second(1000, 3))
    until(lambda: run.results.total.iterations == 3)
    assert stored.master.counted["refused reports"] == 1


@pytest.mark.parametrize("count", [2**53 + 1, 2**63])
def test_numbers_whose_sum_could_not_be_kept_are_refused(stored: Stage, count: int) -> None:
    run = stored.running("a")
    operation = Operation()
    operation.count = count
    stored.nodes[0].say(seconds=((1000, Snapshot(operations={"x": operation})),))
    stored.nodes[0].say(seconds=((1000, Snapshot(counters={"x": count})),))
    until(lambda: stored.master.counted["refused reports"] == 2)
    assert not run.results.total.operations
    assert alive(stored)


def test_sources_outlive_their_file_and_the_master(stored: Stage, tmp_path: Path) -> None:
    stored.running("a")
    stored.replace_master(Store(tmp_path / "runs.db"))
    stored.scenario.unlink()
    late = stored.join("late")
    sent: list[bytes] = []
    stored.master._publisher.send = lambda topic, *frames: sent.append(topic)  # type: ignore[method-assign]
    late.say("stopped", wants=stored.run.plan.code)
    until(lambda: any(topic.startswith(b"code/") for topic in sent), "the sources to be sent")
    assert alive(stored)


def test_a_scenario_that_a_node_may_not_look_at_is_asked_for(
    node: test_node.Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("amoc_gevent.loading.sources.Path.is_file", forbidden)
    plan = plan_of(tmp_path / "scenario.py", "ab" * 32)

    def lead() -> None:
        node.master.publish(plan)
        node.master.acknowledge(0)

    until_told(lead, lambda: node.master.newest.wants == "ab" * 32)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.processes
def test_a_worker_that_cannot_be_started_is_started_later(
    node: test_node.Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SCENARIO)

    def lead() -> None:
        node.master.publish(plan_of(path))
        node.master.acknowledge(0)

    if again:
        until_told(lead, lambda: running(node.master) == 5)
    real, left = process.Popen, [1]

    def popen(*args: Any, **options: Any) -> Any:
        if left:
            left.pop()
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(*args, **options)

    monkeypatch.setattr(process, "Popen", popen)
    if again:
        worker = node.node._supervisor.workers[0]
        worker.process.kill()  # type: ignore[union-attr]
        until(lambda: not left)
    told = "worker 1 cannot be started: Resource temporarily unavailable"

    def is_told() -> bool:
        return any(event.text == told for one in node.master.reports for event in one.events)

    until_told(lead, is_told, "the failure to be told")
    until_told(lead, lambda: running(node.master) == 5, "users in a worker")


# Leases


@pytest.mark.processes
def test_an_acknowledgement_alone_brings_no_users_back_under_an_old_plan(
    node: test_node.Stage, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SCENARIO)
    master, plan = node.master, plan_of(path)
    until_told(
        lambda: (master.publish(plan), master.acknowledge(0, lease=1.5))[2:],
        lambda: running(master) == 5,
    )
    until(lambda: running(master) == 0)
    master.plan = replace(plan, version=2)  # which moved the users; the node has not heard it
    sequence = master.newest.sequence
    until_told(
        lambda: master.acknowledge(0, lease=60.0), lambda: master.newest.sequence > sequence + 3
    )
    assert running(master) == 0
    until_told(
        lambda: (master.publish(master.plan), master.acknowledge(0, lease=60.0))[2:],
        lambda: running(master) == 5,
    )


@pytest.mark.parametrize("status", ["finished", "failed"])
@pytest.mark.processes
def test_users_end_with_a_run_whose_stop_their_node_missed(
    node: test_node.Stage, tmp_path: Path, status: Any
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SCENARIO)

    def lead(plan: Plan) -> None:
        node.master.publish(plan)
        node.master.acknowledge(0)

    until_told(lambda: lead(plan_of(path)), lambda: running(node.master) == 5)
    over = plan_of(path, version=5, status=status)
    until_told(lambda: lead(over), lambda: node.master.newest.state == "stopped")
    assert running(node.master) == 0


@pytest.mark.parametrize("slow", ["init", "terminate"])
@pytest.mark.processes
def test_a_lease_that_ends_fails_no_run_however_slow_the_scenario(
    node: test_node.Stage, tmp_path: Path, slow: str
) -> None:
    path = tmp_path / "scenario.py"
    pause = "    import gevent\n    gevent.sleep(3)\n"
    if slow == "init":
        source = SCENARIO.replace('    print("worker began", flush=True)\n', pause)
    else:
        source = SCENARIO + f"\ndef terminate():\n{pause}"
    path.write_text(source)
    master, plan = node.master, plan_of(path)

    def grant(lease: float) -> None:
        master.publish(plan)
        master.acknowledge(0, lease=lease)

    seen = "starting" if slow == "init" else "ready"
    until_told(lambda: grant(1.5), lambda: master.newest.state == seen)
    supervisor = node.node._supervisor
    worker = supervisor.workers[0]
    until(lambda: not worker.alive, "the worker's end with the lease")
    until(lambda: master.newest.state == "stopped")
    assert master.newest.failure is None
    until_told(lambda: grant(60.0), lambda: running(master) == 5, "the users' return")


# Users run once, and somewhere


def test_users_that_are_waited_for_wait_at_the_third_node_too(stored: Stage) -> None:
    run = stored.running("a", last=12)
    for name in "bc":
        stored.join(name)
    stored.master.handle(Rebalance())
    _, b, _ = stored.nodes
    held = [one for m in run.plan.moves if m.destinations == ("b",) for one in range(m.first, 13)]
    assert held
    b.say("stopped", left=True)
    until(lambda: any(move.sources == ("b",) for move in run.plan.moves))
    assert moving(stored.run.plan)
    for name in "ac":
        for share in own_shares(run.plan, name, 1, 0):
            if share.resume != UNRELEASED:
                assert not {*share.ids} & {*held[-4:]} or name == "a"
    starts = [s.resume for n in "ac" for s in own_shares(run.plan, n, 1, 0) if s.pace]
    assert set(starts) == {UNRELEASED}


def test_a_batch_of_its_own_starts_at_a_node_that_waits_for_others(stored: Stage) -> None:
    run = stored.running("a", last=12)
    stored.join("b")
    stored.master.handle(Rebalance())
    stored.master.handle(Add(4, nodes=("b",)))
    ready = [s for s in own_shares(run.plan, "b", 1, 0) if s.resume != UNRELEASED]
    assert [one for share in ready for one in share.ids] == [13, 14, 15, 16]


def test_who_ended_while_a_move_was_held_is_not_started_again(stored: Stage) -> None:
    run = stored.running("a", last=12)
    stored.join("b")
    stored.master.handle(Rebalance())
    a, b = stored.nodes
    until(lambda: a.plan.version == run.plan.version)
    a.say(ended=((12, 12),))
    until(lambda: not moving(stored.run.plan))
    assert run.plan.moves[0].ended == ((12, 12),)
    assert b.plan.run == run.id


def test_a_user_that_takes_its_leave_does_not_run_twice_in_one_worker() -> None:
    there: dict[int, int] = {}
    most: dict[int, int] = {}
    gate = gevent.event.Event()

    def start(user_id: int) -> None:
        there[user_id] = there.get(user_id, 0) + 1
        most[user_id] = max(most.get(user_id, 0), there[user_id])
        try:
            gevent.sleep(60)
        finally:
            gate.wait()
            there[user_id] -= 1

    crowd = Crowd(start)
    batch = crowd.add(3)
    crowd.until_counts(running=3)
    crowd.users.depart(range(1, 4))
    crowd.users.assign(Share(batch, range(1, 4), 0, clock.monotonic(), 0.001))
    until(lambda: crowd.counts.waiting == 3)
    gate.set()
    crowd.until_counts(running=3)
    assert most == {1: 1, 2: 1, 3: 1}


def test_nodes_that_are_lost_together_keep_their_users_until_one_is_back(leased: Stage) -> None:
    run = leased.running("a", "b", "c", last=9)
    until(lambda: all(one.lost for one in leased.master.nodes.values()), "the loss of all")
    assert run.plan.moves == ()
    talk = talking(leased, "a", "b")
    until(lambda: run.plan.moves, "the users of c to be taken over")
    shares = shares_of(run.plan, "abc")
    assert not shares["c"]
    assert sum(len(share.ids) for name in "ab" for share in shares[name]) == 9
    talk.kill()


def test_users_that_nobody_could_take_go_to_the_next_node_that_joins(leased: Stage) -> None:
    run = leased.running("a", last=9)
    until(lambda: leased.master.nodes["a"].lost)
    leased.join("z")
    talk = talking(leased, "z")
    until(lambda: run.plan.moves, "the users to be taken over")
    assert [(m.sources, m.destinations) for m in run.plan.moves] == [(("a",), ("z",))]
    talk.kill()


def test_a_process_that_joined_just_before_the_masters_end_restarts_its_users(
    stored: Stage, tmp_path: Path
) -> None:
    run = stored.running("a", "b")
    late = stored.nodes[1]
    late.incarnation, late.sequence = "next", 0
    stored.master._ticking.kill()
    late.say("stopped")
    until(lambda: stored.master.nodes["b"].incarnation == "next")
    stored.replace_master(Store(tmp_path / "runs.db"))
    assert stored.run.id == run.id
    assert [(move.sources, move.destinations) for move in stored.run.plan.moves] == [(("b",), ())]


def test_who_ended_at_a_node_that_left_alone_has_ended_when_it_returns(leased: Stage) -> None:
    run = leased.running("a", last=10)
    node_ = leased.nodes[0]
    node_.say(ended=((1, 5),))
    node_.say("stopped", left=True)
    until(lambda: leased.master.nodes["a"].left)
    node_.incarnation, node_.sequence = "next", 0
    node_.say("stopped")
    until(lambda: leased.master.nodes["a"].incarnation == "next")
    until(lambda: run.plan.moves)
    assert [(m.sources, m.destinations, m.ended) for m in run.plan.moves] == [
        (("a",), (), ((1, 5),))
    ]


def test_a_process_whose_name_another_has_taken_may_have_no_users(stored: Stage) -> None:
    run = stored.running("a")
    node_ = stored.nodes[0]
    late = node_.report(seconds=second(1000, 1))
    node_.incarnation, node_.sequence = "next", 0
    first = node_.report(seconds=second(1001, 10))
    node_.send(first)
    until(lambda: run.results.total.iterations == 10)
    for report in (late, first, late):
        node_.send(report)
    until(lambda: run.results.total.iterations >= 11)

    def refused() -> list[Ack]:
        return [ack for ack in node_.acks if ack.incarnation == "life" and ack.refused]

    until(refused)
    assert {ack.lease for ack in refused()} == {0.0}
    assert run.results.total.iterations == 11
    assert stored.master.nodes["a"].incarnation == "next"
    assert len(run.plan.moves) == 1


# Each report counts once


def test_a_node_that_leaves_is_acknowledged_and_counted_once(stored: Stage) -> None:
    run = stored.running("a", "b")
    b = stored.nodes[1]
    measured = b.report(seconds=second(1000, 5))
    left = b.report("stopped", left=True)
    b.send(measured)
    b.send(left)
    until(lambda: b.acks and b.acks[-1].sequence >= left.sequence, "the leave to be acknowledged")
    b.send(b.report("stopped", left=True, oldest=measured.sequence))
    b.send(measured)
    until(lambda: stored.master.counted["repeated reports"])
    assert run.results.total.iterations == 5
    assert [event.kind for event in run.events].count("node-left") == 1


def test_figures_that_come_after_the_end_are_stored_before_the_next_run(
    stored: Stage, tmp_path: Path
) -> None:
    run = stored.running("a")
    node_ = stored.nodes[0]
    node_.obeys = True
    stored.master.handle(Stop(force=True))
    assert stored.master.ended.wait(20)
    node_.obeys = False
    last = node_.report("stopped", run=run.id, seconds=second(1000, 7))
    stored.master._saved = clock.monotonic() + 3600  # not before the next run
    node_.send(last)
    until(lambda: stored.master.nodes["a"].newest == last.sequence)
    stored.do()
    with Store(tmp_path / "runs.db") as store:
        assert store.load(run.id).results.total.iterations == 7


# The run store


@pytest.mark.parametrize("what", ["add", "do"])
def test_a_command_that_cannot_be_stored_is_refused_and_changes_nothing(
    stored: Stage, tmp_path: Path, what: str
) -> None:
    if what == "add":
        run = stored.running("a")
    else:
        stored.join("a")
    with (
        locked(tmp_path),
        pytest.raises(AmocError, match=r"the run store .*runs\.db cannot be written since .*; no"),
    ):
        stored.master.handle(Add(5)) if what == "add" else stored.do()
    if what == "add":
        assert len(run.plan.batches) == 1
        stored.master.handle(Add(5))
        assert run.plan.batches[1].first == 11
    else:
        assert as_json(stored.master.handle(Status()))["status"] == "idle"
        stored.do()
    assert alive(stored)


def test_a_store_that_cannot_be_written_for_long_costs_no_memory_without_bound(
    stored: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_saver, "PARTS_MAX", 3)
    run = stored.running("a")
    node_ = stored.nodes[0]
    with locked(tmp_path):
        for count in range(1, 9):
            node_.say(seconds=second(1000 + count, 1))
            until(lambda count=count: run.results.total.iterations == count)
            stored.master._saver.save()
        assert len(stored.master._saver._parts) <= 4
    until(lambda: node_.acks and node_.acks[-1].sequence == node_.sequence, "all to be stored")
    stored.replace_master(Store(tmp_path / "runs.db"))
    assert stored.run.results.total.iterations == 8


class Tally:
    """An output that leaves how many rounds it was told of."""

    def __init__(self, run: Run) -> None:
        self.rounds = 0
        run.results.watch(self._add)

    def _add(self, _second: int, snapshot: Snapshot, *_: object) -> None:
        self.rounds += snapshot.iterations

    def pending(self, *, full: bool = False) -> StateChanges:
        return StateChanges({"rounds": b"%d" % self.rounds}, ["rounds before"])

    def stored(self) -> None:
        pass


def test_pending_data_is_stored_with_its_figures(stored: Stage, tmp_path: Path) -> None:
    run = stored.running("a")
    stored.master.attach(Tally(run))
    node_ = stored.nodes[0]
    with locked(tmp_path):
        node_.say(seconds=second(1000, 3))
        until(lambda: run.results.total.iterations == 3)
        assert stored.master.pending() == {}
    node_.say(seconds=second(1001, 4))
    until(lambda: node_.acks and node_.acks[-1].sequence == node_.sequence, "all to be stored")
    with Store(tmp_path / "runs.db") as store:
        assert store.load(run.id).results.total.iterations == 7
        assert store.pending() == {"rounds": b"7"}

    stored.replace_master(Store(tmp_path / "runs.db"))
    assert stored.master.pending() == {"rounds": b"7"}
    stored.master.attach(None)
    until(lambda: stored.master.pending() == {}, "what nobody goes on with to be dropped")


def test_a_record_of_another_version_keeps_no_master_from_starting(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lease=60.0, store=Store(tmp_path / "runs.db"))
    run = stage.running("a")
    stage.close()
    with Store(tmp_path / "runs.db") as store, store._db:
        store._db.execute("UPDATE nodes SET data = ?", (b"\x91\x01",))
        store._db.execute("UPDATE runs SET record = ?, version = '0.0.1'", (b"\x91\x01",))
    stage = Stage(tmp_path, lease=60.0, store=Store(tmp_path / "runs.db"))
    assert stage.master.run is None
    assert stage.master.nodes == {}
    with pytest.raises(AmocError, match=rf"run {run.id} was stored by amoc 0\.0\.1"):
        stage.master.find_run(run.id)
    stage.close()


def test_a_stopping_run_is_not_given_up_before_anybody_could_be_heard(
    stored: Stage, tmp_path: Path
) -> None:
    run = stored.running("a", options=Options(user_rate=100.0, stop_timeout=0.05))
    stored.master.handle(Stop())
    stored.master._ticking.kill()
    run.stopping_at -= 60  # for so long the master was away
    stored.replace_master(Store(tmp_path / "runs.db"))
    until(lambda: stored.nodes[0].plan.force)
    assert stored.run.status == "stopping"


def figures(seed: int) -> Snapshot:
    chance = random.Random(seed)
    found = Snapshot(counters={"orders": seed}, iterations=1)
    for name in ("GET /", "POST /"):
        for _ in range(20):
            operation = found.operation(name)
            operation.count += 1
            operation.latency.record(chance.randrange(100_000))
    return found


def test_figures_are_read_as_they_were_whenever_they_were_written(
    stored: Stage, tmp_path: Path
) -> None:
    run = stored.running("a", last=10)
    node_ = stored.nodes[0]
    begin = int(clock.steady()) - 60
    stored.master._saved = clock.monotonic() + 3600
    for at in range(40):
        node_.say(seconds=((begin + at, figures(at)),), users=UserCounts(running=at % 10))
        until(lambda at=at: stored.master._saver.save() and run.results.total.iterations == at + 1)
        stored.master._saver.save(checkpoint=at % 7 == 0)
    with Store(tmp_path / "runs.db") as store:
        again = store.load(run.id).results
        parts = store._db.execute("SELECT count(*) FROM parts WHERE kind = 'measured'").fetchone()
    assert parts[0] <= 7
    now = run.results
    assert again.rows == now.rows
    assert len(again.rows) > 25
    assert again.total.counters == now.total.counters
    for name, operation in now.total.operations.items():
        assert again.total.operations[name].latency.buckets == operation.latency.buckets
    assert (again.peak, again.late_reports, again.worst) == (now.peak, now.late_reports, now.worst)
    now.close_all()
    again.close_all()
    assert again.rows == now.rows


def test_reports_that_are_received_and_not_stored_are_not_sent_each_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(outbox.clock, "monotonic", lambda: now[0])
    sent: list[bytes] = []
    box = outbox.Outbox(lambda data: bool(sent.append(data)) or True)

    def seconds(count: int) -> float:
        before = len(sent)
        for _ in range(count):
            now[0] += 1
            box.send(b"")
            box.acknowledge(0)
        return (len(sent) - before) / count

    seconds(600)
    assert seconds(60) < 30
    until_: Callable[[], object] = lambda: box.acknowledge(box.sequence) or box.empty  # noqa: E731
    assert until_()


def test_a_stranger_is_named_once_however_many_there_were(stored: Stage) -> None:
    stored.running("a")
    registry = stored.master._registry
    registry._refused.update({str(number): "x" for number in range(1000)})
    other = PlayedNode("a", stored.sockets)
    other.incarnation, other.place = "other", "elsewhere"
    for _ in range(5):
        other.say("stopped")
    until(lambda: len([ack for ack in other.acks if ack.refused]) >= 3 or other.say("stopped"))
    assert stored.master.counted["refused nodes"] == 1
    other.close()


# What the scenario declares


@pytest.mark.parametrize("replaced", [False, True])
def test_a_master_that_is_started_again_knows_the_manifest(
    stored: Stage, tmp_path: Path, *, replaced: bool
) -> None:
    run = stored.running("a")
    stored.nodes[0].say(manifest=Manifest("played", "one"))
    until(lambda: stored.run.declared is not None)
    stored.nodes[0].say(manifest=Manifest("played", "one", operations=("GET /",)))
    until(lambda: stored.run.declared is not None and stored.run.declared.manifest.operations)
    assert stored.master.save()
    if replaced:
        replace_by_another(tmp_path / "runs.db")
        until(stored.master.save, "the run in the file that is there now")
    stored.replace_master(Store(tmp_path / "runs.db"))
    assert stored.run.id == run.id
    assert stored.run.declared == run.declared
    late = stored.join("late")
    until(lambda: late.plan.run == run.id, "the plan")
    late.say(manifest=Manifest("played", "two"))
    until(lambda: stored.run.failure is not None)
    assert stored.run.failure is not None
    assert "docstring 'one' on node a, 'two' on node late" in stored.run.failure.message


def test_a_run_stored_before_there_were_manifests_goes_on_without_one(
    stored: Stage, tmp_path: Path
) -> None:
    run = stored.running("a")
    stored.nodes[0].say(manifest=Manifest("played", "one"))
    until(lambda: stored.run.declared is not None)
    assert stored.master.save()
    with sqlite3.connect(tmp_path / "runs.db") as other:
        other.execute("DELETE FROM parts WHERE kind = 'declared'")
    other.close()
    stored.replace_master(Store(tmp_path / "runs.db"))
    assert (stored.run.id, stored.run.declared) == (run.id, None)
