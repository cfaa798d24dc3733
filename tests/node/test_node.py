"""A node and its master, which the test plays: reports, acknowledgements, leases, sources."""

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from amoc_gevent import clock
from amoc_gevent.bus import sockets as bus
from amoc_gevent.bus.directory import SocketDirectory
from amoc_gevent.bus.sockets import Publisher, Puller
from amoc_gevent.bus.topics import BEAT, PLAN, ack_topic, code_topic
from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.messages import Ack, Beat, Report, UserCounts, decode_report, encode
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.plan import Batch, Options, Plan
from amoc_gevent.loading.sources import pack
from amoc_gevent.node import node as node_module
from amoc_gevent.node import outbox
from amoc_gevent.node.home import NodeHome
from amoc_gevent.node.lease import LEASE_GRACE_S
from amoc_gevent.node.master_connection import MasterAddress
from amoc_gevent.node.node import Node
from tests.lasting import stand_still
from tests.worker.crowd import until

AHEAD = 1_000_000.0
"""Seconds by which the played master's time is ahead of the machine's monotonic clock."""


class PlayedMaster:
    """Collects what a node reports and publishes what the test wants."""

    def __init__(self, sockets: SocketDirectory) -> None:
        self.reports: list[Report] = []
        self.incarnation = "first"
        self.plan = Plan()
        self._publisher = Publisher(sockets.endpoint("plans"))
        self._puller = Puller(sockets.endpoint("reports"))
        self._collecting = gevent.spawn(self._collect)

    def _collect(self) -> None:
        while True:
            self.reports.append(decode_report(self._puller.pull()))

    @property
    def newest(self) -> Report:
        return max(self.reports, key=lambda report: report.sequence)

    def publish(self, plan: Plan) -> None:
        self.plan = plan
        beat = Beat(self.incarnation, clock.monotonic() + AHEAD, plan.version)
        self._publisher.send(PLAN, encode(beat), encode(plan))

    def garble(self, topic: bytes, *frames: bytes) -> None:
        self._publisher.send(topic, *frames)

    def give(self, sha: str, data: bytes) -> None:
        self._publisher.send(code_topic(sha), data)

    def acknowledge(self, last: int, lease: float = 60.0, incarnation: str = "") -> None:
        newest = self.newest
        now = clock.monotonic() + AHEAD
        life = incarnation or newest.incarnation
        plan = self.plan
        ack = Ack(life, last, newest.sent, now, now, lease, plan.run, plan.version)
        self._publisher.send(ack_topic("here"), encode(ack))

    def lead(self, plan: Plan, acknowledged: int = 0, lease: float = 60.0) -> None:
        """Publish the plan and grant a lease, as a master does each second."""
        self.publish(plan)
        self.acknowledge(acknowledged, lease)

    def refuse(self, why: str) -> None:
        ack = Ack(self.newest.incarnation, 0, 0.0, 0.0, 0.0, 0.0, refused=why)
        self._publisher.send(ack_topic("here"), encode(ack))

    def times(self, sequence: int) -> int:
        """Return how often a report was received."""
        return sum(report.sequence == sequence for report in self.reports)

    def close(self) -> None:
        self._collecting.kill()
        self._publisher.close()
        self._puller.close()


class Stage:
    """A played master and a node with one worker."""

    def __init__(self, directory: Path) -> None:
        self.sockets = SocketDirectory()
        self.master = PlayedMaster(self.sockets)
        master = MasterAddress(self.sockets.endpoint("plans"), self.sockets.endpoint("reports"))
        self.said: list[str] = []
        home = NodeHome(self.sockets, sources=directory / "sources")
        self.node = Node("here", 1, master, home, self.said.append)
        until(lambda: self.master.reports, "the first report")

    def close(self) -> None:
        self.node.close()
        self.master.close()
        self.sockets.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    found = Stage(tmp_path)
    yield found
    found.close()


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "RESEND_S", 0.05)
    monkeypatch.setattr(node_module, "TICK_S", 0.001)
    monkeypatch.setattr(node_module, "REPORT_S", 0.001)


@pytest.fixture
def master(_hasty: None, stage: Stage) -> PlayedMaster:
    """A played master of a node that has no run and reports often."""
    return stage.master


def until_told(tell: Callable[[], object], condition: Callable[[], object], what: str = "") -> None:
    """Repeat a message to the node until the condition holds."""
    until(lambda: tell() or condition(), what or "the node to hear")


@pytest.mark.processes
def test_a_node_told_to_stop_a_run_starts_no_user_of_it_for_a_master_that_forgot_the_stop(
    stage: Stage, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SCENARIO)
    master, plan = stage.master, plan_of(path)

    until_told(lambda: master.lead(plan), lambda: running(master) == 5)
    until_told(
        lambda: master.lead(replace(plan, version=7, status="stopping", force=True)),
        lambda: master.newest.state == "stopped",
    )
    until_told(
        lambda: master.lead(plan),
        lambda: any(e.kind == "stopped-before" for one in master.reports for e in one.events),
    )
    sequence = master.newest.sequence
    until_told(lambda: master.lead(plan), lambda: master.newest.sequence > sequence + 3)
    assert (master.newest.state, running(master)) == ("stopped", 0)
    assert master.newest.plan_version == 7
    other = replace(plan, run="another")
    until_told(lambda: master.lead(other), lambda: running(master) == 5)


def test_a_node_reports_before_it_hears_of_any_run(master: PlayedMaster) -> None:
    until(lambda: len(master.reports) >= 2)
    first = master.reports[0]
    assert (first.source, first.sequence, first.run, first.state) == ("here", 1, "", "stopped")
    assert [report.sequence for report in master.reports[:2]] == [1, 2]


def test_a_report_is_sent_again_until_it_is_acknowledged(master: PlayedMaster) -> None:
    until_told(lambda: master.acknowledge(0), lambda: master.times(1) >= 3)
    until_told(lambda: master.acknowledge(1), lambda: master.newest.oldest > 1)
    came, number = master.times(1), master.newest.sequence
    until_told(lambda: master.acknowledge(1), lambda: master.newest.sequence > number + 10)
    assert master.times(1) == came


def test_nothing_is_sent_again_while_the_master_is_silent(master: PlayedMaster) -> None:
    until(lambda: master.newest.sequence > 200)
    assert all(master.times(number) == 1 for number in range(1, 200))


def test_an_acknowledgement_for_another_incarnation_drops_nothing(master: PlayedMaster) -> None:
    until_told(
        lambda: master.acknowledge(10**6, incarnation="another life"),
        lambda: master.newest.sequence > 50,
    )
    assert master.newest.oldest == 1


def test_a_master_with_an_older_plan_is_told_of_the_newer_version(
    master: PlayedMaster, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SCENARIO)
    plan = plan_of(path)
    until_told(
        lambda: master.publish(replace(plan, version=7)),
        lambda: master.newest.plan_version == 7,
    )
    master.incarnation = "second"
    last = master.newest.sequence
    until_told(
        lambda: master.publish(replace(plan, version=5)),
        lambda: master.newest.sequence > last + 20,
    )
    assert {report.plan_version for report in master.reports if report.sequence > last} == {7}
    until_told(
        lambda: master.publish(replace(plan, version=8)),
        lambda: master.newest.plan_version == 8,
    )


def test_dropped_reports_do_not_hold_up_acknowledgements() -> None:
    kept = outbox.Outbox(lambda _: True)
    for _ in range(outbox.KEPT_REPORTS + 10):
        kept.send(b"")
    assert (kept.sequence, kept.oldest) == (outbox.KEPT_REPORTS + 10, 11)
    assert (kept.take_dropped(), kept.take_dropped()) == (10, 0)
    view = NodeView("here", "life")
    view.is_new(Report("here", "life", kept.sequence, "", "ready", kept.oldest))
    assert view.acknowledged == 10
    kept.acknowledge(kept.sequence)
    assert kept.empty


def test_invalid_messages_are_ignored(master: PlayedMaster) -> None:
    for topic in (PLAN, BEAT, ack_topic("here"), b"code/", b"plan/x"):
        for frames in ((), (b"",), (b"\xc1", b"hello"), (b"", b"", b"")):
            master.garble(topic, *frames)
    until_told(lambda: master.acknowledge(1), lambda: master.newest.oldest > 1)


def test_a_master_of_another_version_is_logged_once(
    stage: Stage, master: PlayedMaster, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(bus, "WIRE", b"amoc 9.9")
    publisher = master._publisher

    def speak() -> None:
        publisher._socket.send_multipart((PLAN, b"amoc 8.8", b""))

    until_told(speak, lambda: stage.node.status().refused)
    assert (
        "amoc 8.8 is not amoc 9.9: install the same version everywhere"
        in stage.node.status().refused
    )
    assert sum("amoc 8.8" in record.message for record in caplog.records) == 1


def test_a_run_that_is_over_before_the_node_heard_of_it_needs_no_workers(
    master: PlayedMaster,
) -> None:
    until_told(
        lambda: master.publish(Plan(version=3, run="brief", status="stopping")),
        lambda: any(report.run == "brief" for report in master.reports),
    )
    assert {r.state for r in master.reports if r.run == "brief"} == {"stopped"}


def test_the_offset_of_the_masters_clock_and_its_bound_come_from_an_exchange(
    master: PlayedMaster,
) -> None:
    until_told(lambda: master.acknowledge(0), lambda: master.newest.clock.bound < 1.0)
    found = master.newest.clock
    assert abs(found.offset - AHEAD) <= found.bound
    wall = AHEAD - clock.wall_minus_monotonic()
    assert abs(found.wall - wall) <= found.bound + 0.001


def test_a_restarted_master_has_another_clock(master: PlayedMaster) -> None:
    until_told(lambda: master.acknowledge(0), lambda: master.newest.clock.bound < 1.0)
    master.incarnation = "second"
    until_told(lambda: master.publish(Plan()), lambda: master.newest.clock.bound == float("inf"))


SCENARIO = """
from amoc_gevent import user

def init():
    print("worker began", flush=True)

def start(user_id):
    while not user.leaving():
        user.sleep(0.01)
"""


def plan_of(path: Path, code: str = "", **more: Any) -> Plan:
    batch = Batch(1, 5, AHEAD, 1000.0, ("here",))
    said = {"version": 1, "run": "r", "status": "running", "batches": (batch,), **more}
    return Plan(scenario=str(path), code=code, **said)


def running(master: PlayedMaster) -> int:
    return master.newest.users.running


def kinds_of_events(master: PlayedMaster) -> list[str]:
    return [event.kind for report in master.reports for event in report.events]


@pytest.mark.processes
def test_users_run_only_during_a_lease(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SCENARIO)
    master, plan = stage.master, plan_of(path)
    until_told(lambda: master.publish(plan), lambda: master.newest.run == "r")
    assert not stage.node._supervisor.workers

    until_told(
        lambda: master.lead(plan, lease=1.5), lambda: running(master) == 5, "users under a lease"
    )
    began = stage.said.count("worker began")
    worker = stage.node._supervisor.workers[0]
    until(lambda: running(master) == 0, "the end of all users after the lease")
    until(lambda: not worker.alive, "the end of the worker")
    assert all(report.users.done == 0 for report in master.reports)
    assert master.newest.users == UserCounts()
    until(lambda: "fenced" in kinds_of_events(master), "the report of the end")
    assert stage.said.count("worker began") == began

    until_told(
        lambda: master.lead(plan, lease=1.5), lambda: running(master) == 5, "the users' return"
    )
    assert stage.said.count("worker began") == began + 1


@pytest.mark.processes
def test_after_a_suspension_workers_get_time_to_end_by_themselves(
    stage: Stage, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SCENARIO)
    master, plan = stage.master, plan_of(path)

    until_told(
        lambda: master.lead(plan, lease=2.0), lambda: running(master) == 5, "users under a lease"
    )
    [worker] = stage.node._supervisor.workers
    os.kill(worker.pid, signal.SIGSTOP)
    stand_still(2.0 + LEASE_GRACE_S + 0.5)
    os.kill(worker.pid, signal.SIGCONT)
    until(lambda: not worker.alive, "the end of the worker")
    assert worker.process is not None
    assert worker.process.returncode == 0
    until(lambda: kinds_of_events(master).count("fenced") >= 1, "the report of the end")
    assert kinds_of_events(master).count("fenced") == 1
    counted = sum(s.iterations for report in master.reports for _, s in report.seconds)
    assert counted == 0  # no interrupted user has finished an iteration


@pytest.mark.processes
def test_a_worker_killed_after_the_lease_is_reported(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SCENARIO)
    master, plan = stage.master, plan_of(path)

    until_told(
        lambda: master.lead(plan, lease=2.0), lambda: running(master) == 5, "users under a lease"
    )
    [worker] = stage.node._supervisor.workers
    os.kill(worker.pid, signal.SIGSTOP)
    until(lambda: not worker.alive, "the end of the worker, which stands still")

    def told() -> list[str]:
        events = [event for report in master.reports for event in report.events]
        return [event.text for event in events if event.kind == "worker-lost"]

    until(told, "what it costs")
    assert "what it had not reported is lost" in told()[0]


@pytest.mark.processes
def test_ended_users_of_dropped_reports_are_reported_again(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text("def start(user_id):\n    pass\n\n\ndef init():\n    pass\n")
    master, plan = stage.master, plan_of(path, options=Options(repeat_num=1))

    def ended(since: int = 0) -> list[tuple[int, int]]:
        told = [r.ended for r in master.reports if r.sequence > since]
        return [*IdSet(interval for intervals in told for interval in intervals)]

    until_told(
        lambda: (master.publish(plan), master.acknowledge(0))[2:],
        lambda: ended() == [(1, 5)],
        "the end of all users",
    )
    last = master.newest.sequence
    monkeypatch.setattr(outbox, "KEPT_REPORTS", 1)
    until(lambda: master.newest.oldest > last, "these reports to be dropped")
    until_told(lambda: master.acknowledge(0), lambda: ended(last) == [(1, 5)])
    until_told(lambda: master.acknowledge(0), lambda: master.newest.sequence > last + 20)
    assert len(drop_events(master)) == 1
    until_told(
        lambda: master.acknowledge(master.newest.sequence),
        lambda: len(drop_events(master)) == 2,
    )


def drop_events(master: PlayedMaster) -> list[str]:
    events = [event for report in master.reports for event in report.events]
    return [event.text for event in events if event.kind == "reports-dropped"]


@pytest.mark.processes
def test_a_refusal_is_logged_once_and_no_worker_starts(
    stage: Stage, tmp_path: Path, caplog: Any
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SCENARIO)
    until_told(
        lambda: (stage.master.publish(plan_of(path)), stage.master.refuse("the name is taken"))[2:],
        lambda: stage.node.status().refused,
    )
    assert not stage.node._supervisor.workers
    assert [r.message for r in caplog.records if "taken" in r.message] == ["the name is taken"]


@pytest.mark.processes
def test_missing_sources_are_requested_and_verified(stage: Stage, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "scenario.py").write_text("import helper\n" + SCENARIO)
    (there / "helper.py").write_text("")
    sha, data = pack(there / "scenario.py")
    (there / "scenario.py").write_text("another version of it")
    master, plan = stage.master, plan_of(there / "scenario.py", sha)

    until_told(
        lambda: master.lead(plan),
        lambda: master.newest.wants == sha,
        "the node to want the sources",
    )
    spoiled = data[:-1] + b"x"
    assert hashlib.sha256(spoiled).hexdigest() != sha
    master.give(sha, spoiled)
    until(
        lambda: "SHA-256" in stage.node.status().refused, "the node to refuse the spoiled sources"
    )
    until_told(
        lambda: (master.lead(plan), master.give(sha, data))[2:], lambda: running(master) == 5
    )
    assert master.newest.wants == ""
    assert stage.node._source_cache.find("", sha) == tmp_path / "sources" / sha / "scenario.py"


@pytest.mark.processes
def test_a_leaving_node_ends_its_users_and_reports_that_it_left(
    stage: Stage, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SCENARIO)
    master, plan = stage.master, plan_of(path)

    until_told(lambda: master.lead(plan, master.newest.sequence), lambda: running(master) == 5)
    worker = stage.node._supervisor.workers[0]
    leaving = gevent.spawn(stage.node.leave, 60.0)
    until_told(
        lambda: master.lead(plan, master.newest.sequence),
        lambda: leaving.dead,
        "the node to have left",
    )
    assert worker.process is not None
    assert worker.process.returncode == 0, "it was told to end, and not killed"
    assert master.newest.left
    assert master.newest.state == "stopped"
    assert not any(worker.alive for worker in stage.node._supervisor.workers)


DECLARING = """
import os
from pathlib import Path
from amoc_gevent import metrics, settings, user

MARK = Path({mark!r})
who = settings.declare("who", "first" if not MARK.exists() else "second", "who they are")

def init():
    with metrics.operation("warm up"):
        MARK.touch()

def start(user_id):
    while not user.leaving():
        user.sleep(0.01)
"""


@pytest.mark.processes
def test_only_the_first_ready_report_carries_the_manifest(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(DECLARING.format(mark=str(tmp_path / "mark")))
    master, plan = stage.master, plan_of(path)

    until_told(lambda: master.lead(plan), lambda: running(master) == 5)
    sequence = master.newest.sequence
    until(lambda: master.newest.sequence > sequence + 3)
    reports = {report.sequence: report for report in master.reports}
    carried = [reports[number] for number in sorted(reports) if reports[number].manifest]
    assert len(carried) == 1
    assert all(reports[n].state != "ready" for n in reports if n < carried[0].sequence)
    (manifest,) = (report.manifest for report in carried)
    assert manifest is not None
    assert (manifest.scenario, manifest.operations) == ("scenario", ("warm up",))
    assert [(one.name, one.default) for one in manifest.settings] == [("who", "first")]


@pytest.mark.processes
def test_a_dropped_manifest_is_sent_again(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(DECLARING.format(mark=str(tmp_path / "mark")))
    master, plan = stage.master, plan_of(path)

    until_told(lambda: master.lead(plan), lambda: running(master) == 5)
    last = master.newest.sequence
    monkeypatch.setattr(outbox, "KEPT_REPORTS", 1)
    until(lambda: master.newest.oldest > last, "these reports to be dropped")
    until_told(
        lambda: master.lead(plan),
        lambda: any(r.manifest for r in master.reports if r.sequence > last),
    )


@pytest.mark.processes
def test_a_restarted_worker_with_another_manifest_fails_the_run(
    stage: Stage, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(DECLARING.format(mark=str(tmp_path / "mark")))
    master, plan = stage.master, plan_of(path)

    until_told(lambda: master.lead(plan), lambda: running(master) == 5)
    [worker] = stage.node._supervisor.workers
    first = worker.pid
    os.kill(first, signal.SIGKILL)
    until_told(lambda: master.lead(plan), lambda: master.newest.failure is not None, "the failure")
    failure = master.newest.failure
    assert failure is not None
    assert f"worker 1 (pid {worker.pid}) of node here" in failure.message
    assert f"setting who: default 'first' on worker 1 (pid {first})" in failure.message
    assert "'second' on worker 1" in failure.message
    stopping = replace(plan, version=2, status="stopping")
    until_told(
        lambda: (master.publish(stopping), master.acknowledge(0))[2:],
        lambda: master.newest.state == "stopped",
        "the end of the worker",
    )
    again = replace(plan, run="next")
    until_told(
        lambda: (master.publish(again), master.acknowledge(0))[2:],
        lambda: running(master) == 5,
        "the next run, whose workers agree",
    )
    assert master.newest.failure is None


@pytest.mark.processes
def test_a_scenario_that_declares_too_much_fails_the_run(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "scenario.py"
    many = "for n in range(1001):\n    settings.declare(f'n{n}', 1, 'a number')\n"
    path.write_text(f"from amoc_gevent import settings\n{many}{SCENARIO}")
    master, plan = stage.master, plan_of(path)

    until_told(lambda: master.lead(plan), lambda: master.newest.failure is not None, "the failure")
    failure = master.newest.failure
    assert failure is not None
    assert "scenario scenario declares too much: it has 1,001 settings" in failure.message
    assert (failure.detail, master.newest.state) == ("", "failed")
