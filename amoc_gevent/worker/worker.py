"""The worker itself: runs its share of the plan's users on the one hub of its process.

It derives its users from each plan, starts and ends them to match, reports once a second, and ends
with the run. Each run gets a new interpreter.
"""

import logging
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult

from amoc_gevent import clock, settings
from amoc_gevent.bus.sockets import Pusher, Subscriber
from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.manifest import Manifest
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import (
    Event,
    Failure,
    Health,
    MessageError,
    Order,
    Report,
    State,
    UserCounts,
    decode_order,
    encode,
)
from amoc_gevent.core.run.placement import Share, differences, own_shares
from amoc_gevent.core.run.plan import Move, Plan
from amoc_gevent.errors import AmocError, ScenarioError, UsageError
from amoc_gevent.loading.loader import Scenario, load
from amoc_gevent.metrics import recorder
from amoc_gevent.worker.garbage import GarbageCollector
from amoc_gevent.worker.health import HealthMonitor, resident_bytes
from amoc_gevent.worker.killer import KILL_GRACE_S, UserKiller
from amoc_gevent.worker.lease import Lease
from amoc_gevent.worker.scheduler import UserScheduler
from amoc_gevent.worker.user_errors import UserErrors, text_of
from amoc_gevent.worker.watchdog import Blocking, Watchdog

log = logging.getLogger(__name__)

WARNING_INTERVAL_S = 1.0
"""Minimum time between two warnings of blocking users; others in between are only counted."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The worker's number on its node (0-based) and the number of its process (1-based)."""

    worker: int
    incarnation: int


@dataclass(slots=True)
class _Live:
    """The parts of a worker once its scenario is loaded, and how far it has followed the plan.

    `settings` holds the given settings that were applied. `version` is the plan version that it
    follows, and `settled` the last version for which no departing user is left. `shares` are its
    own shares; `moves`, the number of `removals` and the last `proposal` have been applied.
    """

    scenario: Scenario
    state: object
    users: UserScheduler
    lease: Lease
    health: HealthMonitor
    watchdog: Watchdog
    garbage: GarbageCollector
    settings: dict[str, str]
    version: int = -1
    settled: int = 0
    shares: list[Share] = field(default_factory=list)
    moves: tuple[Move, ...] = ()
    removals: int = 0
    proposal: int = 0


class Worker:
    """Runs users until the run ends; `orders` and `reports` are the addresses of its node."""

    def __init__(self, identity: Identity, orders: str, reports: str) -> None:
        self._identity = identity
        self._orders = Subscriber(orders)
        self._reports = Pusher(reports)
        self._state: State = "starting"
        self._order: Order | None = None
        self._live: _Live | None = None
        self._events: list[Event] = []
        self._failure: Failure | None = None
        self._manifest: Manifest | None = None
        self._sequence = 0
        self._peak = (-1, 0)  # (second, users) last reported
        self._loading: Any = None
        self._blocked_until = 0.0
        self._blocked_since = 0
        self._done: AsyncResult[None] = AsyncResult()

    def run(self) -> None:
        """Work until the run has ended and the last report is sent.

        Raises any exception of the engine itself; the node then starts another process.
        """
        receiving = self._spawn(self._receive)
        self._report()
        try:
            self._done.get()
        finally:
            receiving.kill()
            self._orders.close()
            self._reports.close()

    def _spawn(self, function: Callable[..., object], *args: object) -> Any:
        """Start a greenlet of the worker itself; if it fails, `run` raises its exception."""
        part = gevent.Greenlet(function, *args)
        part.link_exception(lambda failed: self._done.set_exception(failed.exception))  # type: ignore[arg-type]  # it has one
        part.start()
        return part

    def _receive(self) -> None:
        while True:
            try:
                order = decode_order(self._orders.receive())
            except MessageError as error:
                log.error("%s", error)
                continue
            first, self._order = self._order is None, order
            if first and order.plan.going_on:
                self._loading = self._spawn(self._load, order)
            if self._live is not None:
                self._follow(order, self._live)
            elif not order.plan.going_on:
                if self._loading is not None:
                    self._loading.kill(block=False)
                self._finish()

    def _load(self, order: Order) -> None:
        """Load the scenario and run its `init`. Any exception fails the run."""
        try:
            scenario = load(Path(order.scenario))
            settings.registry.configure(order.plan.settings, os.environ)
            state = scenario.init()
            self._manifest = scenario.manifest(recorder.snapshot.operations)
        except BaseException as error:  # noqa: BLE001  # the boundary around a scenario's loading
            self._fail(error)
            return
        errors = UserErrors(scenario, recorder)
        errors.watch(gevent.get_hub())

        def on_error(user_id: int, error: BaseException) -> None:
            line = errors.record(user_id, error)
            if users.options.on_user_error == "stop" and self._failure is None:
                self._failure = Failure(f"a user failed and on_user_error is stop: {line}")
                gevent.spawn(self._report)

        users = UserScheduler(
            scenario.start_with(state),
            order.plan.options,
            recorder,
            on_error,
            UserKiller(self._on_stuck),
        )
        users.exclude(IdSet(order.ended))
        health = HealthMonitor(order.node, self._identity.worker)
        watchdog = Watchdog(self._on_blocked)
        garbage = GarbageCollector(resident_bytes())
        lease = Lease((self._order or order).until, users, lambda: self._fence(users))
        own = {**order.plan.settings}
        live = _Live(scenario, state, users, lease, health, watchdog, garbage, own)
        self._live = live
        self._state = "ready"
        self._spawn(self._report_each_second, live)
        self._spawn(self._finish_when_gone, users)
        self._follow(self._order or order, live)

    def _fail(self, error: BaseException) -> None:
        """Report why the scenario cannot run, unless the run was stopped meanwhile."""
        if self._order is not None and not self._order.plan.going_on:
            return
        if isinstance(error, AmocError):
            detail = error.detail if isinstance(error, ScenarioError) else ""
            self._failure = Failure(str(error), detail, isinstance(error, UsageError))
        else:
            line = f"the scenario cannot be loaded: {type(error).__name__}: {text_of(error)}"
            self._failure = Failure(line, "".join(traceback.format_exception(error)))
        self._state = "failed"
        self._report()

    def _follow(self, order: Order, live: _Live) -> None:
        """Make the users match the plan. This is idempotent."""
        plan, users = order.plan, live.users
        live.lease.renew(order.until)
        clock.set_cluster_offset(order.clock.wall)
        users.set_clock(order.clock.offset, plan.pauses, plan.load_ends)
        if plan.version == live.version or live.lease.over:
            return
        users.options = plan.options
        self._follow_settings(plan, live)
        if plan.status == "running":
            for removal in plan.removals[live.removals :]:
                users.remove(removal)
            live.removals = len(plan.removals)
            self._follow_placement(order, live)
        elif not plan.going_on:
            users.stop(force=plan.force or plan.status != "stopping")
        live.version = plan.version
        self._report()  # at once, as the author of a command waits for its effect

    def _follow_placement(self, order: Order, live: _Live) -> None:
        """End the users that are no longer this worker's, and add those that are new."""
        plan, users = order.plan, live.users
        for move in plan.moves if plan.moves != live.moves else ():
            users.exclude(IdSet(move.ended))
        live.moves = plan.moves
        own = own_shares(plan, order.node, order.workers, self._identity.worker)
        dropped, new = differences(live.shares, own)
        for ids in dropped:
            users.depart(ids)
        for share in new:
            users.assign(share)
        live.shares = own

    def _fence(self, users: UserScheduler) -> None:
        """End all users at once: the node's lease is over, so other nodes may run them now."""
        self._event("fenced", f"the master was not heard: worker {self._identity.worker + 1} ended")
        users.fence()

    def _follow_settings(self, plan: Plan, live: _Live) -> None:
        """Apply changed settings, and try the proposed one."""
        for name, text in plan.settings.items():
            if live.settings.get(name) != text:
                self._update(name, text, live)
        proposal = plan.proposal
        if proposal is not None and proposal.number != live.proposal:
            live.proposal = proposal.number
            self._update(proposal.name, proposal.text, live)

    def _update(self, name: str, text: str, live: _Live) -> None:
        try:
            settings.registry.update(name, text)
        except UsageError as error:
            self._event("set-refused", str(error))
        else:
            live.settings[name] = text

    def _report_each_second(self, live: _Live) -> None:
        """Report at each full second of the master's time."""
        while self._order is not None:
            offset = self._order.clock.offset
            second = int(clock.monotonic() + offset)
            while (left := second + 1 - offset - clock.monotonic()) > 0:
                gevent.sleep(left)
            self._report(self._measured(second, live))

    def _finish_when_gone(self, users: UserScheduler) -> None:
        users.stopped.wait()
        self._finish()

    def _finish(self) -> None:
        """End the run here: call `terminate`, send the last report, let `run` return."""
        live, order, measured = self._live, self._order, None
        if live is not None and order is not None:
            live.watchdog.stop()
            live.lease.close()
            try:
                live.scenario.terminate(live.state)
            except ScenarioError as error:
                self._event("terminate", str(error))
                log.error("%s\n%s", error, error.detail)
            measured = self._measured(int(clock.monotonic() + order.clock.offset), live)
        self._state = "stopped"
        self._report(measured)
        self._done.set()

    def _measured(self, second: int, live: _Live) -> tuple[int, Snapshot, Health]:
        snapshot, users = recorder.take(), live.users.counts()
        peak = max(snapshot.peak, users.present)
        # The node adds up peaks of one second, and part of this one may be reported already.
        reported = self._peak[1] if self._peak[0] == second else 0
        self._peak = second, max(reported, peak)
        snapshot.peak = max(0, peak - reported)
        health = live.health.take(second, snapshot.lag)
        live.garbage.check(health.rss, users.running)
        return second, snapshot, health

    def _report(self, measured: tuple[int, Snapshot, Health] | None = None) -> None:
        """Send a report of all that is new since the last one."""
        order, live = self._order, self._live
        self._sequence += 1
        if live is not None and not live.users.departing:
            live.settled = live.version
        report = Report(
            source=str(self._identity.worker),
            incarnation=str(self._identity.incarnation),
            sequence=self._sequence,
            run=order.plan.run if order is not None else "",
            state=self._state,
            plan_version=live.settled if live is not None else 0,
            users=live.users.counts() if live is not None else UserCounts(),
            seconds=(measured[:2],) if measured is not None else (),
            health=measured[2:] if measured is not None else (),
            events=tuple(self._events),
            ended=live.users.take_ended() if live is not None else (),
            failure=self._failure,
            manifest=self._manifest if live is not None else None,
        )
        self._events.clear()
        if live is not None:
            self._manifest = None
        self._reports.push(encode(report))

    def _event(self, kind: str, text: str) -> None:
        self._events.append(Event(clock.wall(), kind, text))

    def _on_stuck(self, user_ids: list[int]) -> None:
        """Report users that did not end when killed. A run that stops does not wait for them."""
        shown = ", ".join(map(str, user_ids[:10])) + (", ..." if len(user_ids) > 10 else "")
        text = f"still running {KILL_GRACE_S:g} s after they were killed: users {shown}"
        self._event("stuck", text)
        log.warning("%s", text)
        live = self._live
        if live is None:
            return
        stopping = self._order is not None and not self._order.plan.going_on
        if stopping or live.lease.over:
            live.users.give_up()
        elif live.users.departing:
            # They start elsewhere once they have ended here, and the move waits for that.
            self._report()
            self._done.set_exception(AmocError(f"{text}; they were moved, so this worker ends"))

    def _on_blocked(self, found: Blocking) -> None:
        """Report a user that does not yield, at most once every WARNING_INTERVAL_S seconds."""
        now = clock.monotonic()
        if now < self._blocked_until:
            self._blocked_since += 1
            return
        others = f" (and {self._blocked_since} more since the last)" if self._blocked_since else ""
        self._blocked_until, self._blocked_since = now + WARNING_INTERVAL_S, 0
        text = found.described("blocked its worker", others)
        self._event("blocked", text)
        log.warning("%s", text.rstrip())
