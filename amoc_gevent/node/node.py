"""A node: hands the plan on to the workers of its machine and their reports to the master.

It may have users only as long as the master, by its acknowledgements, grants it a lease; without
one its workers end their users by themselves.
"""

import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gevent

from amoc_gevent import clock
from amoc_gevent.bus.addresses import SocketWatch
from amoc_gevent.bus.directory import SocketDirectory
from amoc_gevent.bus.sockets import Keys, Listener, Publisher, Puller, Pusher
from amoc_gevent.bus.topics import BEAT, CODE, PLAN, ack_topic, code_topic
from amoc_gevent.core.answers import NodeStatus, UsersByState
from amoc_gevent.core.clock_offset import ClockOffset
from amoc_gevent.core.manifest import DisagreementError
from amoc_gevent.core.messages import (
    Ack,
    Beat,
    Clock,
    Failure,
    MessageError,
    Order,
    Report,
    State,
    UserCounts,
    decode_ack,
    decode_beat,
    decode_plan,
    decode_report,
    encode,
)
from amoc_gevent.core.run.plan import Plan
from amoc_gevent.errors import AmocError
from amoc_gevent.loading.sources import Shelf
from amoc_gevent.node.gathering import Gathering
from amoc_gevent.node.handshakes import HandshakeWatch
from amoc_gevent.node.lease import NEVER, NodeLease
from amoc_gevent.node.outbox import Outbox
from amoc_gevent.node.process import Launcher, WorkerProcess
from amoc_gevent.node.supervisor import WorkerSupervisor

log = logging.getLogger(__name__)

SECOND_GRACE = 2
TICK_S = 0.1
REPORT_S = 1.0
FIRST_REPORT_S = 0.1
"""How soon a node reports again that was not answered yet: at first an answer finds no listener."""

LEAVE_S = 3.0


class MasterAddress(NamedTuple):
    """Where a master publishes its plans and takes in reports; `keys` encrypt both."""

    plans: str
    reports: str
    keys: Keys | None = None


class Node:
    """Runs `workers` worker processes for each run of the master.

    `place` tells this node from every other one of its name; sources of scenarios that are not
    here are kept in `shelf`. `on_output` gets each line that a worker writes. `ours` says whether
    its home still is.
    """

    def __init__(
        self,
        name: str,
        workers: int,
        master: MasterAddress,
        sockets: SocketDirectory,
        on_output: Callable[[str], None],
        *,
        place: str = "",
        shelf: Path | None = None,
        ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self._place = place
        self._incarnation = uuid.uuid4().hex
        self._ack_topic = ack_topic(name)
        self._listener = Listener(master.plans, (PLAN, BEAT, CODE, self._ack_topic), master.keys)
        self._reports = Pusher(master.reports, keys=master.keys)
        orders = sockets.endpoint(f"{name}.orders")
        worker_reports = sockets.endpoint(f"{name}.reports")
        self._orders = Publisher(orders)
        self._worker_reports = Puller(worker_reports)
        self._sockets = (self._listener, self._reports, self._orders, self._worker_reports)
        self._watch = SocketWatch(*self._sockets, ours=ours)
        self._shelf = Shelf(shelf or sockets.path / "sources")
        self._outbox = Outbox(self._reports.push)
        launcher = Launcher(orders, worker_reports, on_output)
        self._supervisor = WorkerSupervisor(workers, launcher, self._event, self._on_death)
        self._plan = Plan()
        self._master = self._told_stopped = self._told_dropped = ""
        self._offset = ClockOffset()
        self._lease = NodeLease()
        self.heard = NEVER
        self.refused = ""
        self._leaving = False
        self._forced = False
        self._reported, self._pause = NEVER, FIRST_REPORT_S
        self._gathering = Gathering()
        self._wants = ""
        self._handshakes = HandshakeWatch(
            self._listener, self._reports, keyed=master.keys is not None
        )
        loops = (self._listen, self._collect, self._tick, self._follow_handshakes)
        self._loops = [gevent.spawn(loop) for loop in loops]

    def close(self) -> None:
        """Kill what still runs and close the sockets."""
        gevent.killall(self._loops)
        self._supervisor.close()
        for socket in self._sockets:
            socket.close()

    def leave(self, patience: float) -> None:
        """End all users, gently for `patience` seconds and then by force, and tell the master."""
        self._leaving = True
        self._supervisor.wind_down(force=False)
        self._publish()
        deadline = clock.monotonic() + patience
        while self._supervisor.state not in {"stopped", "failed"}:
            if clock.monotonic() > deadline and not self._forced:
                self._forced = True
                self._supervisor.wind_down(force=True)
                self._publish()
            gevent.sleep(TICK_S)
        self._send()
        deadline = clock.monotonic() + LEAVE_S
        while not self._outbox.empty and clock.monotonic() < deadline:
            gevent.sleep(TICK_S)

    @property
    def state(self) -> State:
        """How its workers stand towards the run."""
        return self._supervisor.state

    def status(self, master: str | None = None) -> NodeStatus:
        """Return the answer to `status`; `master` is its host, None for the home's own."""
        offset = self._clock()
        heard = clock.monotonic() - self.heard
        return NodeStatus(
            kind="node",
            master=master,
            name=self.name,
            workers=self._supervisor.count,
            state=self._supervisor.state,
            joined=self._lease.left > 0,
            run=self._plan.run,
            status=self._plan.status,
            master_heard_s=None if self.heard == NEVER else round(heard, 1),
            lease_s=round(max(0.0, self._lease.left), 1),
            refused=self.refused,
            clock_offset_us=round(offset.wall * 1e6),
            clock_bound_us=None if offset.bound == float("inf") else round(offset.bound * 1e6),
            users=UsersByState(**self._supervisor.users.by_state()),
        )

    def _clock(self) -> Clock:
        offset, bound = self._offset.at(clock.monotonic())
        return Clock(offset, offset - clock.wall_minus_monotonic(), bound)

    def _listen(self) -> None:
        while True:
            try:
                topic, frames = self._listener.receive()
                self._hear(topic, frames)
            except MessageError as error:
                self._refuse(str(error))
            except Exception as error:  # the boundary around what a message brings about
                log.exception("a message of the master")
                self._refuse(f"a message of the master: {error!r}")

    def _follow_handshakes(self) -> None:
        """Tell why no connection comes about, though somebody is there."""
        for told, why in self._handshakes.complaints():
            if why:
                self._refuse(why)
            elif self.refused == told:
                log.info("connected to the master")
                self.refused = ""

    def _refuse(self, why: str) -> None:
        """Say once why the master, or what it says, is of no use."""
        if self.refused != why:
            self.refused = why
            log.error("%s", why)

    def _hear(self, topic: bytes, frames: list[bytes]) -> None:
        if topic == self._ack_topic and len(frames) == 1:
            self._take_ack(decode_ack(frames[0]))
        elif topic == BEAT and len(frames) == 1:
            self._take_beat(decode_beat(frames[0]))
        elif topic == PLAN and len(frames) == 2:
            self._take_beat(decode_beat(frames[0]))
            self._take_plan(decode_plan(frames[1]))
        elif topic.startswith(CODE) and len(frames) == 1:
            if topic == code_topic(self._wants):
                self._take_code(frames[0])
        else:
            raise MessageError(f"{len(frames)} frames about {topic[:40]!r}")

    def _take_beat(self, beat: Beat) -> None:
        now = clock.monotonic()
        self.heard = now
        if beat.life != self._master:
            self._master = beat.life
            self._offset.reset()
        self._offset.add_one_way(beat.time, now)

    def _take_ack(self, ack: Ack) -> None:
        if ack.incarnation != self._incarnation:
            return
        now = clock.monotonic()
        if ack.refused:
            self._refuse(ack.refused)
            return
        self.refused = ""
        self._outbox.acknowledge(ack.sequence)
        self._tell_of_dropped(ack)
        self._offset.add_exchange(ack.sent, ack.received, ack.time, now)
        plan = self._plan
        if (plan.run, plan.version >= ack.version) == (ack.run, True):
            self._lease.grant(ack)
        self._go_on()

    def _tell_of_dropped(self, ack: Ack) -> None:
        """Tell the master, now that it answers, of reports that it will not get any more.

        Users whose ends were in them will not start again, so it must hear of those once more. A
        master that cannot store what it gets hears of the first ones, and of the rest once it can.
        """
        if ack.sequence < self._outbox.oldest - 1 and self._told_dropped == self._master:
            return
        dropped = self._outbox.take_dropped()
        if dropped:
            self._told_dropped = self._master
            self._gathering.tell_again()
            text = f"node {self.name} dropped {dropped} reports that were not acknowledged"
            self._event("reports-dropped", f"{text}: those that the master never got are missing")

    def _take_plan(self, plan: Plan) -> None:
        if plan.run != self._plan.run:
            self._replace_run()
        elif plan.going_on and not self._plan.going_on:
            self._refuse_to_go_back(plan)
            return
        elif plan.version < self._plan.version:
            return  # of a master that could not store this one: it hears of it, and surpasses it
        self._plan = plan
        self._gathering.follow(plan)
        if not plan.going_on:
            self._supervisor.wind_down(force=plan.force or plan.status != "stopping")
        self._go_on()

    def _refuse_to_go_back(self, plan: Plan) -> None:
        """Tell a master that does not know it that its run was stopped: nobody shall start again.

        The last one could not store it.
        """
        if self._told_stopped != self._master:
            self._told_stopped = self._master
            self._event(
                "stopped-before", f"node {self.name} was told before that run {plan.run} stops"
            )
            self._send()

    def _replace_run(self) -> None:
        """End what is left of the last run."""
        self._supervisor.renew()
        self._outbox.take_dropped()
        self._told_dropped = ""
        self._gathering = Gathering()
        self._wants = ""

    def _take_code(self, data: bytes) -> None:
        try:
            self._shelf.put(self._wants, data)
        except OSError as error:
            self._fail(f"the scenario's sources cannot be written: {error}")
        self._go_on()

    def _fail(self, why: str) -> None:
        self._supervisor.failure = self._supervisor.failure or Failure(f"node {self.name}: {why}")
        self._send()

    def _go_on(self) -> None:
        """Make the workers follow the plan, as far as this node may and can."""
        plan = self._plan
        if plan.going_on and not self._leaving and self._lease.left > 0:
            known = self._shelf.find(plan.scenario, plan.code)
            before, self._wants = self._wants, "" if known is not None else plan.code
            if known is not None:
                self._supervisor.keep_going()
            elif not before:
                self._send()
        self._publish()

    def _publish(self) -> None:
        if not self._supervisor.workers:
            return
        plan = self._plan
        if self._leaving:
            # Workers do what a new version says; nobody else sees these two.
            version = plan.version + 1 + self._forced
            plan = Plan(version, plan.run, "stopping", force=self._forced)
        scenario = self._shelf.find(self._plan.scenario, self._plan.code)
        ended = tuple(self._gathering.ended_ids) if self._supervisor.returning else ()
        order = Order(
            plan,
            self.name,
            self._supervisor.count,
            str(scenario),
            self._clock(),
            self._lease.until,
            ended,
        )
        self._orders.publish(encode(order))

    def _collect(self) -> None:
        while True:
            try:
                report = decode_report(self._worker_reports.pull())
                worker = self._supervisor.workers[int(report.source)]
                self._take(report, worker)
            except Exception as error:  # the boundary around what one report brings about
                log.error("a worker's report: %s", error, exc_info=not isinstance(error, AmocError))
                self._gathering.refuse(error)

    def _take(self, report: Report, worker: WorkerProcess) -> None:
        """Take in what a worker reports."""
        if report.run not in {"", self._plan.run}:
            return
        self._gathering.take(worker.index, report)
        self._compare(report, worker)
        mine = report.incarnation == str(worker.incarnation)
        news = mine and self._supervisor.note(worker, report)
        if news or self._gathering.seconds.oldest <= self._whole_through():
            self._send()

    def _compare(self, report: Report, worker: WorkerProcess) -> None:
        """Fail where a worker declares something else than those before it."""
        if report.manifest is None:
            return
        by = f"worker {worker.index + 1} (pid {worker.pid}) of node {self.name}"
        try:
            self._gathering.compare(report.manifest, by)
        except DisagreementError as error:
            log.error("%s", error)
            self._supervisor.failure = self._supervisor.failure or Failure(str(error))

    def _on_death(self, worker: int) -> None:
        self._gathering.seconds.drop_levels(worker)
        self._send()

    def _whole_through(self) -> float:
        """Return the last second that all workers have reported, or that is old enough."""
        last = self._supervisor.last_second()
        return float("inf") if last is None else max(last, self._second() - SECOND_GRACE)

    def _second(self) -> int:
        """Return which second it is by the master's time."""
        now = clock.monotonic()
        return int(now + self._offset.at(now)[0])

    def _send(self) -> None:
        """Send one report with all that is complete, and keep it until it is acknowledged."""
        supervisor, through = self._supervisor, self._whole_through()
        for silent in supervisor.silence(self.name, through, self._second()):
            self._gathering.seconds.note(silent.second, silent)
        seconds = self._gathering.seconds.take(through)
        gone = self._leaving and supervisor.state in {"stopped", "failed"}
        manifest = self._gathering.take_manifest() if supervisor.state == "ready" else None
        report = Report(
            source=self.name,
            incarnation=self._incarnation,
            sequence=self._outbox.next,
            run=self._plan.run,
            state=supervisor.state,
            oldest=self._outbox.oldest,
            plan_version=min(supervisor.plan_version(self._plan.version), self._plan.version),
            users=UserCounts() if self._leaving else supervisor.users,
            seconds=tuple((found.second, found.snapshot) for found in seconds),
            health=tuple(one for found in seconds for one in found.health),
            events=tuple(self._gathering.events),
            ended=tuple(self._gathering.ended),
            failure=supervisor.failure,
            workers=supervisor.count,
            sent=clock.monotonic(),
            place=self._place,
            wants=self._wants,
            left=gone,
            clock=self._clock(),
            manifest=manifest,
        )
        self._gathering.reported()
        self._outbox.send(encode(report))

    def _tick(self) -> None:
        """Ten times a second do what is due; once a second tell the master that we are here."""
        while True:
            try:
                self._do_what_is_due()
            except Exception:  # the boundary around what one moment brings: the next one comes
                log.exception("a moment of the node failed")
            gevent.sleep(TICK_S)

    def _do_what_is_due(self) -> None:
        now = clock.monotonic()
        self._lease.look(now)
        self._watch.look()
        if now - self._reported >= self._pause:
            self._reported = now
            self._pause = REPORT_S if self._lease.was_granted else min(REPORT_S, 2 * self._pause)
            self._send()
        if any(worker.state == "starting" for worker in self._supervisor.workers):
            self._publish()
        self._supervisor.kill_unresponsive(self._lease.killed_at)

    def _event(self, kind: str, text: str) -> None:
        log.warning("%s", text)
        self._gathering.event(kind, text)
