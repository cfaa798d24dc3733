"""The node itself: passes the master's plan to its workers, and their reports to the master.

A node may have users only while it holds a lease, which the master's acknowledgements extend. When
the lease ends, the workers end their users by themselves.
"""

import logging
from collections.abc import Callable

import gevent

from amoc_gevent import clock
from amoc_gevent.bus.addresses import SocketWatch
from amoc_gevent.bus.sockets import Publisher, Puller
from amoc_gevent.bus.topics import code_topic
from amoc_gevent.core.answers import NodeStatus, UsersByState
from amoc_gevent.core.manifest import DisagreementError
from amoc_gevent.core.messages import (
    Ack,
    MessageError,
    Order,
    Report,
    State,
    UserCounts,
    decode_report,
    encode,
)
from amoc_gevent.core.run.plan import Plan
from amoc_gevent.errors import AmocError
from amoc_gevent.loading.sources import SourceCache
from amoc_gevent.node.home import NodeHome
from amoc_gevent.node.lease import NEVER, NodeLease
from amoc_gevent.node.master_connection import MasterAddress, MasterConnection, PublishedSources
from amoc_gevent.node.process import Launcher, WorkerProcess
from amoc_gevent.node.report_buffer import ReportBuffer
from amoc_gevent.node.supervisor import WorkerSupervisor

log = logging.getLogger(__name__)

SECOND_GRACE = 2
"""Seconds after which a second is reported even if a worker has not reported it yet."""

TICK_S = 0.1
REPORT_S = 1.0
FIRST_REPORT_S = 0.1
"""The first interval between reports; it doubles up to REPORT_S until the master has answered.

The first answers may come before the node's subscription reaches the master.
"""

LEAVE_S = 3.0
"""How long a node that leaves waits for the acknowledgement of its last reports."""


class Node:
    """Runs `workers` worker processes for each run of the master at address `master`.

    `on_output` receives each line that a worker writes.
    """

    def __init__(
        self,
        name: str,
        workers: int,
        master: MasterAddress,
        home: NodeHome,
        on_output: Callable[[str], None],
    ) -> None:
        self.name = name
        self._place = home.place
        self._master = MasterConnection(name, master)
        orders = home.sockets.endpoint(f"{name}.orders")
        worker_reports = home.sockets.endpoint(f"{name}.reports")
        self._orders = Publisher(orders)
        self._worker_reports = Puller(worker_reports)
        self._watch = SocketWatch(
            *self._master.sockets, self._orders, self._worker_reports, owns_home=home.owns_home
        )
        self._source_cache = SourceCache(home.sources or home.sockets.path / "sources")
        launcher = Launcher(orders, worker_reports, on_output)
        self._supervisor = WorkerSupervisor(workers, launcher, self._event, self._on_death)
        self._plan = Plan()
        self._stop_reported_to = self._drop_reported_to = ""
        self._lease = NodeLease()
        self._leaving = False
        self._forced = False
        self._reported, self._pause = NEVER, FIRST_REPORT_S
        self._buffer = ReportBuffer()
        self._wants = ""
        loops = (self._listen, self._collect, self._tick, self._master.follow_handshakes)
        self._loops = [gevent.spawn(loop) for loop in loops]

    def close(self) -> None:
        """Kill the workers and close the sockets."""
        gevent.killall(self._loops)
        self._supervisor.close()
        self._master.close()
        self._orders.close()
        self._worker_reports.close()

    def leave(self, grace: float) -> None:
        """End all users and tell the master. After `grace` seconds, end them by force."""
        self._leaving = True
        self._supervisor.wind_down(force=False)
        self._publish()
        deadline = clock.monotonic() + grace
        while self._supervisor.state not in {"stopped", "failed"}:
            if clock.monotonic() > deadline and not self._forced:
                self._forced = True
                self._supervisor.wind_down(force=True)
                self._publish()
            gevent.sleep(TICK_S)
        self._send()
        deadline = clock.monotonic() + LEAVE_S
        while not self._master.outbox.empty and clock.monotonic() < deadline:
            gevent.sleep(TICK_S)

    @property
    def state(self) -> State:
        """The combined state of the workers."""
        return self._supervisor.state

    def status(self, master: str | None = None) -> NodeStatus:
        """Return the answer to `status`. For a remote master, `master` is its host."""
        offset = self._master.clock()
        heard = clock.monotonic() - self._master.heard
        return NodeStatus(
            kind="node",
            master=master,
            name=self.name,
            workers=self._supervisor.count,
            state=self._supervisor.state,
            joined=self._lease.left > 0,
            run=self._plan.run,
            status=self._plan.status,
            master_heard_s=None if self._master.heard == NEVER else round(heard, 1),
            lease_s=round(max(0.0, self._lease.left), 1),
            refused=self._master.refused,
            clock_offset_us=round(offset.wall * 1e6),
            clock_bound_us=None if offset.bound == float("inf") else round(offset.bound * 1e6),
            users=UsersByState(**self._supervisor.users.by_state()),
        )

    def _listen(self) -> None:
        while True:
            try:
                self._handle(self._master.receive())
            except MessageError as error:
                self._master.refuse(str(error))
            except Exception as error:  # the boundary around a message
                log.exception("a message from the master failed")
                self._master.refuse(f"a message from the master failed: {error!r}")

    def _handle(self, message: Plan | Ack | PublishedSources) -> None:
        if isinstance(message, Plan):
            self._take_plan(message)
        elif isinstance(message, Ack):
            self._take_ack(message)
        elif message.topic == code_topic(self._wants):
            self._take_sources(message.data)

    def _take_ack(self, ack: Ack) -> None:
        self._report_dropped(ack)
        plan = self._plan
        if (plan.run, plan.version >= ack.version) == (ack.run, True):
            self._lease.grant(ack)
        self._drive_workers()

    def _report_dropped(self, ack: Ack) -> None:
        """Report how many reports were dropped, once the master answers again.

        The dropped reports may have named ended users, so those are reported again. A master that
        cannot store reports gets this event once, and again when it can.
        """
        outbox = self._master.outbox
        if (
            ack.sequence < outbox.oldest - 1
            and self._drop_reported_to == self._master.master_incarnation
        ):
            return
        dropped = outbox.take_dropped()
        if dropped:
            self._drop_reported_to = self._master.master_incarnation
            self._buffer.repeat()
            text = f"node {self.name} dropped {dropped} reports that were not acknowledged"
            self._event("reports-dropped", f"{text}: any that the master did not receive are lost")

    def _take_plan(self, plan: Plan) -> None:
        if plan.run != self._plan.run:
            self._replace_run()
        elif plan.going_on and not self._plan.going_on:
            self._report_stopped(plan)
            return
        elif plan.version < self._plan.version:
            # The master could not store our version; our reports make it choose a higher one.
            return
        self._plan = plan
        self._buffer.add_moved(plan)
        if not plan.going_on:
            self._supervisor.wind_down(force=plan.force or plan.status != "stopping")
        self._drive_workers()

    def _report_stopped(self, plan: Plan) -> None:
        """Tell a master that `plan`'s run was already stopped, so no user may start again.

        The previous master process could not store the stop.
        """
        if self._stop_reported_to != self._master.master_incarnation:
            self._stop_reported_to = self._master.master_incarnation
            text = f"node {self.name} was already told that run {plan.run} stops"
            self._event("stopped-before", text)
            self._send()

    def _replace_run(self) -> None:
        """End the workers of the previous run and forget its data."""
        self._supervisor.reset()
        self._master.outbox.take_dropped()
        self._drop_reported_to = ""
        self._buffer = ReportBuffer()
        self._wants = ""

    def _take_sources(self, data: bytes) -> None:
        try:
            self._source_cache.put(self._wants, data)
        except OSError as error:
            why = f"the scenario's sources cannot be written: {error}"
            self._supervisor.fail(f"node {self.name}: {why}")
            self._send()
        self._drive_workers()

    def _drive_workers(self) -> None:
        """Start the workers if this node has a lease and the sources; publish the orders."""
        plan = self._plan
        if plan.going_on and not self._leaving and self._lease.left > 0:
            known = self._source_cache.find(plan.scenario, plan.code)
            before, self._wants = self._wants, "" if known is not None else plan.code
            if known is not None:
                self._supervisor.start_missing()
            elif not before:
                self._send()
        self._publish()

    def _publish(self) -> None:
        if not self._supervisor.workers:
            return
        plan = self._plan
        if self._leaving:
            # Workers follow only a newer version. Nobody but them sees these two versions.
            version = plan.version + 1 + self._forced
            plan = Plan(version, plan.run, "stopping", force=self._forced)
        scenario = self._source_cache.find(self._plan.scenario, self._plan.code)
        ended = tuple(self._buffer.ended_ids) if self._supervisor.restarting else ()
        workers, clocks = self._supervisor.count, self._master.clock()
        lease_end = self._lease.until
        order = Order(plan, self.name, workers, str(scenario), clocks, lease_end, ended)
        self._orders.publish(encode(order))

    def _collect(self) -> None:
        while True:
            try:
                report = decode_report(self._worker_reports.pull())
                worker = self._supervisor.workers[int(report.source)]
                self._take(report, worker)
            except Exception as error:  # the boundary around a report
                log.error("a worker's report: %s", error, exc_info=not isinstance(error, AmocError))
                self._buffer.add_refusal(error)

    def _take(self, report: Report, worker: WorkerProcess) -> None:
        """Buffer a worker's report of the present run. Report at once if that is urgent."""
        if report.run not in {"", self._plan.run}:
            return
        self._buffer.add(worker.index, report)
        self._compare(report, worker)
        mine = report.incarnation == str(worker.incarnation)
        urgent = mine and self._supervisor.apply(worker, report)
        if urgent or self._buffer.seconds.oldest <= self._complete_through():
            self._send()

    def _compare(self, report: Report, worker: WorkerProcess) -> None:
        """Fail the run if a worker's manifest differs from the manifests before it."""
        if report.manifest is None:
            return
        by = f"worker {worker.index + 1} (pid {worker.pid}) of node {self.name}"
        try:
            self._buffer.compare(report.manifest, by)
        except DisagreementError as error:
            log.error("%s", error)
            self._supervisor.fail(str(error))

    def _on_death(self, worker: int) -> None:
        self._buffer.seconds.drop_levels(worker)
        self._send()

    def _complete_through(self) -> float:
        """Return the last second that all workers have reported, or that is SECOND_GRACE old."""
        last = self._supervisor.last_second()
        return float("inf") if last is None else max(last, self._master.second() - SECOND_GRACE)

    def _send(self) -> None:
        """Send a report with all complete data."""
        supervisor, through = self._supervisor, self._complete_through()
        for silent in supervisor.silent_seconds(self.name, through, self._master.second()):
            self._buffer.seconds.note(silent.second, silent)
        gone = self._leaving and supervisor.state in {"stopped", "failed"}
        report = Report(
            source=self.name,
            incarnation=self._master.incarnation,
            sequence=self._master.outbox.next,
            run=self._plan.run,
            state=supervisor.state,
            oldest=self._master.outbox.oldest,
            plan_version=min(supervisor.plan_version(self._plan.version), self._plan.version),
            users=UserCounts() if self._leaving else supervisor.users,
            failure=supervisor.failure,
            workers=supervisor.count,
            sent=clock.monotonic(),
            place=self._place,
            wants=self._wants,
            left=gone,
            clock=self._master.clock(),
        )
        self._master.outbox.send(encode(self._buffer.complete(report, through)))

    def _tick(self) -> None:
        """Do what is due every TICK_S seconds."""
        while True:
            try:
                self._do_due()
            except Exception:  # the boundary around a tick
                log.exception("a tick of the node failed")
            gevent.sleep(TICK_S)

    def _do_due(self) -> None:
        now = clock.monotonic()
        self._lease.tick(now)
        self._watch.check()
        if now - self._reported >= self._pause:
            self._reported = now
            self._pause = REPORT_S if self._lease.was_granted else min(REPORT_S, 2 * self._pause)
            self._send()
        if any(worker.state == "starting" for worker in self._supervisor.workers):
            self._publish()
        self._supervisor.kill_unresponsive(self._lease.killed_at)

    def _event(self, kind: str, text: str) -> None:
        log.warning("%s", text)
        self._buffer.add_event(kind, text)
