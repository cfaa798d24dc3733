"""A worker: one process, one hub, the users that the plan makes its own.

It computes from each plan what shall be and makes it so, reports once a second what is, and ends
when the run does. It holds one run: the next one gets a new interpreter.
"""

import gc
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event as Flag

from amoc_gevent import clock, settings
from amoc_gevent.core.intervals import IdSet
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
from amoc_gevent.core.plan import own_ids
from amoc_gevent.core.snapshot import Snapshot
from amoc_gevent.engine.bus import Pusher, Subscriber
from amoc_gevent.engine.failures import UserErrors
from amoc_gevent.engine.health import HealthMonitor
from amoc_gevent.engine.loader import Scenario, load
from amoc_gevent.engine.users import Users
from amoc_gevent.engine.watchdog import Watchdog
from amoc_gevent.errors import AmocError, ScenarioError, UsageError
from amoc_gevent.metrics import recorder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which worker of its node this is (0-based), and the how-manieth process in that place."""

    worker: int
    incarnation: int


@dataclass(slots=True)
class _Live:
    """What a worker has once its scenario is loaded."""

    scenario: Scenario
    state: object
    users: Users
    health: HealthMonitor
    watchdog: Watchdog
    settings: Mapping[str, str]
    batches_seen: int = 0
    removals_seen: int = 0


class Worker:
    """Runs its users until the run ends; `orders` and `reports` are its node's addresses."""

    def __init__(self, identity: Identity, orders: str, reports: str) -> None:
        self._identity = identity
        self._orders = Subscriber(orders)
        self._reports = Pusher(reports)
        self._state: State = "starting"
        self._order: Order | None = None
        self._live: _Live | None = None
        self._events: list[Event] = []
        self._failure: Failure | None = None
        self._sequence = 0
        self._beginning: Any = None
        self._users_gone = Flag()
        self._done = Flag()

    def run(self) -> None:
        """Work until the run has ended and the last report is out."""
        receiving = gevent.spawn(self._receive)
        self._report()
        self._done.wait()
        receiving.kill()
        self._orders.close()
        self._reports.close()

    def _receive(self) -> None:
        while True:
            try:
                order = decode_order(self._orders.receive())
            except MessageError as error:
                log.error("%s", error)
                continue
            if self._order is None:
                self._beginning = gevent.Greenlet(self._begin, order)
                self._beginning.start()
            self._order = order
            if self._live is not None:
                self._follow(order, self._live)
            elif order.plan.status == "stopping":
                self._beginning.kill()
                self._finish()

    def _begin(self, order: Order) -> None:
        """Load the scenario and run its `init`; whatever is wrong with it fails the run."""
        plan = order.plan
        try:
            scenario = load(Path(plan.scenario))
            settings.registry.configure(plan.settings, os.environ)
            state = scenario.init()
        except AmocError as error:
            detail = error.detail if isinstance(error, ScenarioError) else ""
            self._state = "failed"
            self._failure = Failure(str(error), detail, isinstance(error, UsageError))
            self._report()
            return
        gc.collect()
        gc.freeze()  # what is loaded by now stays: the collector need not look at it again
        errors = UserErrors(scenario, recorder)

        def on_error(user_id: int, error: BaseException) -> None:
            line = errors.record(user_id, error)
            if users.options.on_user_error == "stop" and self._failure is None:
                self._failure = Failure(f"a user failed and on_user_error is stop: {line}")
                gevent.spawn(self._report)

        users = Users(
            _bind(scenario, state),
            plan.options,
            recorder,
            on_error,
            self._on_stuck,
            self._users_gone.set,
        )
        users.forget(IdSet(order.ended))
        health = HealthMonitor(order.node, self._identity.worker)
        watchdog = Watchdog(self._on_blocked)
        self._live = _Live(scenario, state, users, health, watchdog, plan.settings)
        self._state = "ready"
        self._report()
        gevent.spawn(self._report_each_second, self._live)
        gevent.spawn(self._finish_when_gone)
        self._follow(self._order or order, self._live)

    def _follow(self, order: Order, live: _Live) -> None:
        """Make reality match the plan; doing so twice changes nothing."""
        plan, users = order.plan, live.users
        users.options = plan.options
        if plan.settings != live.settings:
            self._change_settings(plan.settings, live)
        if plan.status == "running":
            own = list(own_ids(plan, order.node, order.workers, self._identity.worker))
            for batch, ids in own[live.batches_seen :]:
                users.assign(batch, ids, order.offset)
            live.batches_seen = len(own)
            for removal in plan.removals[live.removals_seen :]:
                users.remove(removal)
            live.removals_seen = len(plan.removals)
        elif plan.status == "stopping":
            users.stop(force=plan.force)

    def _change_settings(self, given: Mapping[str, str], live: _Live) -> None:
        """Apply what `set` changed, and say at once that it is done or why it cannot be."""
        before, live.settings = live.settings, given
        for name, text in given.items():
            if before.get(name) != text:
                try:
                    settings.registry.update(name, text)
                except UsageError as error:
                    self._event("set-refused", str(error))
        self._report()

    def _report_each_second(self, live: _Live) -> None:
        """Report at each full second of the master's time."""
        while self._order is not None:
            offset = self._order.offset
            second = int(clock.monotonic() + offset)
            while (left := second + 1 - offset - clock.monotonic()) > 0:
                gevent.sleep(left)
            self._report(self._measured(second, live))

    def _finish_when_gone(self) -> None:
        self._users_gone.wait()
        self._finish()

    def _finish(self) -> None:
        """End the run here: `terminate`, the last report, the end of the process."""
        live, order, measured = self._live, self._order, None
        if live is not None and order is not None:
            live.watchdog.stop()
            try:
                live.scenario.terminate(live.state)
            except ScenarioError as error:
                self._event("terminate", str(error))
                log.error("%s\n%s", error, error.detail)
            measured = self._measured(int(clock.monotonic() + order.offset), live)
        self._state = "stopped"
        self._report(measured)
        self._done.set()

    def _measured(self, second: int, live: _Live) -> tuple[int, Snapshot, Health]:
        snapshot = recorder.take()
        return second, snapshot, live.health.take(second, snapshot.lag)

    def _report(self, measured: tuple[int, Snapshot, Health] | None = None) -> None:
        """Send what there is to say since the last report."""
        order, live = self._order, self._live
        self._sequence += 1
        report = Report(
            source=str(self._identity.worker),
            incarnation=str(self._identity.incarnation),
            sequence=self._sequence,
            run=order.plan.run if order is not None else "",
            state=self._state,
            plan_version=order.plan.version if order is not None else 0,
            users=live.users.counts() if live is not None else UserCounts(),
            seconds=(measured[:2],) if measured is not None else (),
            health=measured[2:] if measured is not None else (),
            events=tuple(self._events),
            ended=live.users.take_ended() if live is not None else (),
            failure=self._failure,
        )
        self._events.clear()
        self._reports.push(encode(report))

    def _event(self, kind: str, text: str) -> None:
        self._events.append(Event(clock.wall(), kind, text))

    def _on_stuck(self, user_ids: list[int]) -> None:
        """Say which users did not end when killed; a run that stops does not wait for them."""
        shown = ", ".join(map(str, user_ids[:10])) + (", ..." if len(user_ids) > 10 else "")
        self._event("stuck", f"not gone 2 s after they were killed: users {shown}")
        log.warning("users not gone 2 s after they were killed: %s", shown)
        if self._order is not None and self._order.plan.status == "stopping":
            self._users_gone.set()

    def _on_blocked(self, user_id: int, seconds: float, stack: str) -> None:
        text = f"user {user_id} blocked its worker for more than {seconds * 1000:.0f} ms"
        self._event("blocked", f"{text} at\n{stack}")
        log.warning("%s at\n%s", text, stack.rstrip())


def _bind(scenario: Scenario, state: object) -> Callable[[int], object]:
    """Return `start` as a callable of the user's id alone."""
    start = scenario.start
    return (lambda user_id: start(user_id, state)) if scenario.has_state else start
