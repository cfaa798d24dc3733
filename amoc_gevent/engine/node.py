"""A node: starts, watches and restarts the workers of its machine and merges their reports.

It hands each plan on to its workers, and sends its master one report a second, which it keeps until
the plan acknowledges it.
"""

import logging
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import gevent

from amoc_gevent import clock
from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.messages import (
    Event,
    Failure,
    MessageError,
    Order,
    Report,
    State,
    UserCounts,
    decode_plan,
    decode_report,
    encode,
)
from amoc_gevent.core.plan import Plan
from amoc_gevent.core.seconds import OpenSeconds
from amoc_gevent.engine.bus import Publisher, Puller, Pusher, SocketDirectory, Subscriber
from amoc_gevent.engine.process import WorkerProcess
from amoc_gevent.engine.refusals import Refusals

log = logging.getLogger(__name__)

RESEND_S = 3.0
KEPT_REPORTS = 3600
SECOND_GRACE = 2
OFFSETS = 30
START_DEATHS = 3
STOP_GRACE_S = 4.0
LAST_REPORT_S = 1.0
TICK_S = 0.1
WHAT_A_DEATH_COSTS = (
    "it is started again and its users return; what it had not reported (1 s at most) is lost"
)


@dataclass(slots=True)
class _Kept:
    """A report that the master has not acknowledged."""

    sequence: int
    data: bytes
    sent: float


class Node:
    """Runs `workers` worker processes for each run; `plans` and `reports` are the master's.

    `on_output` gets each line that a worker writes.
    """

    def __init__(
        self,
        name: str,
        workers: int,
        plans: str,
        reports: str,
        sockets: SocketDirectory,
        on_output: Callable[[str], None],
    ) -> None:
        self.name = name
        self._count = workers
        self._on_output = on_output
        self._incarnation = uuid.uuid4().hex
        self._plans = Subscriber(plans)
        self._reports = Pusher(reports)
        self._orders_at = sockets.endpoint(f"{name}.orders")
        self._worker_reports_at = sockets.endpoint(f"{name}.reports")
        self._orders = Publisher(self._orders_at)
        self._worker_reports = Puller(self._worker_reports_at)
        self._plan = Plan()
        self._offsets: deque[float] = deque(maxlen=OFFSETS)
        self._workers: list[WorkerProcess] = []
        self._seconds = OpenSeconds()
        self._events: list[Event] = []
        self._refusals = Refusals()
        self._ended: list[tuple[int, int]] = []
        self._ended_ids = IdSet()
        self._failure: Failure | None = None
        self._forced_at = float("inf")
        self._sequence = 0
        self._kept: deque[_Kept] = deque(maxlen=KEPT_REPORTS)
        self._loops = [gevent.spawn(f) for f in (self._follow_plans, self._collect, self._tick)]

    def close(self) -> None:
        """Kill what still runs and close the sockets."""
        gevent.killall(self._loops)
        left, self._workers = self._workers, []
        for worker in left:
            worker.kill()
        for worker in left:
            if worker.process is not None:
                worker.process.wait()
        for socket in (self._plans, self._reports, self._orders, self._worker_reports):
            socket.close()

    @property
    def _offset(self) -> float:
        """The master's time minus this machine's clock: of late plans the one least on its way."""
        return max(self._offsets, default=0.0)

    def _follow_plans(self) -> None:
        while True:
            try:
                plan = decode_plan(self._plans.receive())
            except MessageError as error:
                log.error("%s", error)
                continue
            self._offsets.append(plan.time - clock.monotonic())
            self._acknowledge(plan)
            if plan.run != self._plan.run:
                self._replace_run(plan)
            self._plan = plan
            if plan.status == "stopping":
                self._note_stopping(plan)
            self._publish()

    def _replace_run(self, plan: Plan) -> None:
        """End what is left of the last run and start the workers of the new one."""
        left, self._workers = self._workers, []
        for worker in left:
            worker.kill()
        self._seconds = OpenSeconds()
        self._events.clear()
        self._refusals = Refusals()
        self._ended.clear()
        self._ended_ids = IdSet()
        self._failure, self._forced_at = None, float("inf")
        self._plan = plan
        if plan.status in {"starting", "running"}:
            self._workers = [WorkerProcess(index) for index in range(self._count)]
            for worker in self._workers:
                self._start(worker)

    def _note_stopping(self, plan: Plan) -> None:
        """Note when workers that do not answer are to be killed, and those that are dead."""
        if plan.force and self._forced_at == float("inf"):
            self._forced_at = clock.monotonic()
        for worker in self._workers:
            if not worker.alive and worker.state in {"starting", "failed"}:
                worker.note_stopped()

    def _publish(self) -> None:
        if self._workers:
            again = any(w.incarnation > 1 and w.state == "starting" for w in self._workers)
            ended = tuple(self._ended_ids) if again else ()
            order = Order(self._plan, self.name, self._count, self._offset, ended)
            self._orders.publish(encode(order))

    def _on_exit(self, worker: WorkerProcess) -> None:
        """Start a worker that died again, unless its run is over; runs in a greenlet of its own."""
        if worker.process is not None and worker.process.returncode == 0:
            deadline = clock.monotonic() + LAST_REPORT_S
            while worker.state != "stopped" and clock.monotonic() < deadline:
                gevent.sleep(TICK_S)
        if worker not in self._workers or worker.state == "stopped":
            return
        words = f"worker {worker.index + 1} (pid {worker.pid}) {worker.end_in_words()}"
        going_on = self._plan.status in {"starting", "running"} and worker.state != "failed"
        pause = worker.note_death()
        self._seconds.drop_levels(worker.index)
        if not going_on:
            self._event("worker-lost", f"{words} while the run was stopping")
            worker.note_stopped()
        elif worker.early_deaths >= START_DEATHS:
            worker.state = "failed"
            text = f"{words} before it was ready, {START_DEATHS} times in a row"
            self._failure = self._failure or Failure(text)
        else:
            worker.state = "starting"
            self._event("worker-lost", f"{words}; {WHAT_A_DEATH_COSTS}")
            gevent.spawn_later(pause, self._restart, worker)
        self._send()

    def _start(self, worker: WorkerProcess) -> None:
        worker.start(self._orders_at, self._worker_reports_at, self._on_exit, self._on_output)

    def _restart(self, worker: WorkerProcess) -> None:
        if worker in self._workers and self._plan.status in {"starting", "running"}:
            self._start(worker)

    def _collect(self) -> None:
        """Take in the workers' reports."""
        while True:
            try:
                report = decode_report(self._worker_reports.pull())
                worker = self._workers[int(report.source)]
            except (MessageError, ValueError, IndexError) as error:
                log.error("%s", error)
                refused = self._refusals.event("a worker", error)
                self._events += [refused] if refused is not None else []
                continue
            if report.run not in {"", self._plan.run}:
                continue
            for second, snapshot in report.seconds:
                self._seconds.add(worker.index, second, snapshot, report.health)
            for first, last in report.ended:
                self._ended_ids.add(first, last)
            self._ended.extend(report.ended)
            self._events.extend(report.events)
            mine = report.incarnation == str(worker.incarnation)
            news = mine and self._note(worker, report)
            if news or self._seconds.oldest <= self._whole_through():
                self._send()

    def _note(self, worker: WorkerProcess, report: Report) -> bool:
        """Take over what a worker says of itself; return whether it is news for the master."""
        before, worker.state = worker.state, report.state
        if report.state == "stopped":
            worker.note_stopped()
        elif report.state == "ready":
            if report.users.running != worker.users.running:
                worker.progressed = clock.monotonic()
            worker.users = report.users
        worker.plan_version = report.plan_version
        for second, _ in report.seconds:
            worker.last_second = max(worker.last_second, second)
        if report.failure is not None and self._failure is None:
            self._failure = report.failure
        if before == "starting" and report.state == "ready" and worker.incarnation > 1:
            self._event("worker-back", f"worker {worker.index + 1} (pid {worker.pid}) is back")
        return before != report.state or not report.seconds

    @property
    def state(self) -> State:
        """The state of the whole node: failed or starting where one worker is, then ready."""
        states = {worker.state for worker in self._workers}
        order: tuple[State, ...] = ("failed", "starting", "ready")
        return next((state for state in order if state in states), "stopped")

    def _plan_version(self) -> int:
        """Return the version of the plan that all workers follow which follow any."""
        versions = [worker.plan_version for worker in self._workers if worker.state == "ready"]
        return min(versions, default=self._plan.version)

    def _whole_through(self) -> float:
        """Return the last second that all workers have reported, or that is old enough."""
        ready = [worker.last_second for worker in self._workers if worker.state == "ready"]
        now = int(clock.monotonic() + self._offset)
        return max(min(ready), now - SECOND_GRACE) if ready else float("inf")

    def _send(self) -> None:
        """Send one report with all that is complete, and keep it until it is acknowledged."""
        seconds = self._seconds.take(self._whole_through())
        self._sequence += 1
        report = Report(
            source=self.name,
            incarnation=self._incarnation,
            sequence=self._sequence,
            run=self._plan.run,
            state=self.state,
            oldest=self._kept[0].sequence if self._kept else self._sequence,
            plan_version=self._plan_version(),
            users=sum((worker.users for worker in self._workers), UserCounts()),
            seconds=tuple((found.second, found.snapshot) for found in seconds),
            health=tuple(one for found in seconds for one in found.health),
            events=tuple(self._events),
            ended=tuple(self._ended),
            failure=self._failure,
        )
        self._events.clear()
        self._ended.clear()
        kept = _Kept(self._sequence, encode(report), clock.monotonic())
        self._kept.append(kept)
        self._reports.push(kept.data)

    def _acknowledge(self, plan: Plan) -> None:
        incarnation, last = plan.acks.get(self.name, ("", 0))
        while incarnation == self._incarnation and self._kept and self._kept[0].sequence <= last:
            self._kept.popleft()

    def _tick(self) -> None:
        """Ten times a second do what is due; once a second tell the master that we are here."""
        beat = 0
        while True:
            if beat % 10 == 0:
                self._send()
                self._resend()
            if any(worker.state == "starting" for worker in self._workers):
                self._publish()
            for worker in self._workers:
                forced = self._forced_at < float("inf") and self._failure is None
                spins = forced and worker.state == "starting"  # its init may never come back
                answer_by = max(self._forced_at, worker.progressed) + STOP_GRACE_S
                if spins or clock.monotonic() > answer_by:
                    worker.kill()
            gevent.sleep(TICK_S)
            beat += 1

    def _resend(self) -> None:
        now = clock.monotonic()
        for kept in self._kept:
            if now - kept.sent > RESEND_S:
                kept.sent = now
                self._reports.push(kept.data)

    def _event(self, kind: str, text: str) -> None:
        log.warning("%s", text)
        self._events.append(Event(clock.wall(), kind, text))
