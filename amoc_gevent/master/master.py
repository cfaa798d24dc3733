"""The master: publishes the plan to its nodes, takes in their reports and stores the run."""

import logging
from collections.abc import Callable

import gevent
from gevent.event import Event as Flag

from amoc_gevent import clock
from amoc_gevent.bus.addresses import SocketWatch
from amoc_gevent.bus.sockets import Keys, Publisher, Puller
from amoc_gevent.bus.topics import code_topic
from amoc_gevent.core.answers import Answer
from amoc_gevent.core.output_state import StateSource
from amoc_gevent.core.run import commands, lifecycle
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import AmocError
from amoc_gevent.master.command_handler import CommandHandler
from amoc_gevent.master.registry import NodeRegistry
from amoc_gevent.master.report_receiver import ReportReceiver
from amoc_gevent.master.run_saver import RunSaver
from amoc_gevent.master.run_state import RunState
from amoc_gevent.master.store import Store

log = logging.getLogger(__name__)

PUBLISH_S = 1.0
"""Shortest interval between periodic plans or beats; longer with many nodes."""

SAVE_S = 0.25
"""Shortest interval between periodic saves. Reports are acknowledged after each.

Without a store both happen at each tick. With many nodes the interval is longer: a merge costs the
same however many reports have come.
"""

TICK_S = 0.05
REPORTS_PAUSE_S = 0.005
"""How long reports may wait so that several are processed together."""

NO_LEASE = float("inf")


class Master:
    """Runs one scenario at a time on the nodes that have joined.

    The master listens at the addresses `plans` and `reports`, encrypted if `keys` are given, and at
    the two ipc addresses in `local`, never encrypted. A node that is silent for `lease` seconds
    loses its users. With `store`, a run outlives this process. `owns_home` returns whether the
    home still belongs to this process.
    """

    def __init__(
        self,
        plans: str,
        reports: str,
        *,
        lease: float = NO_LEASE,
        store: Store | None = None,
        keys: Keys | None = None,
        local: tuple[str, str] = ("", ""),
        owns_home: Callable[[], bool] = lambda: True,
    ) -> None:
        self._publisher = Publisher(plans, keys, local[0])
        self._puller = Puller(reports, keys, REPORTS_PAUSE_S, local[1])
        self._watch = SocketWatch(self._publisher, self._puller, owns_home=owns_home)
        self._store = store
        known = store.nodes(clock.monotonic()) if store is not None else ()
        self._registry = NodeRegistry(lease, known=known, stored=store is not None)
        self._saver = RunSaver(self._registry, store)
        self._state = RunState(self._publisher, self._registry, self._saver)
        self._receiver = ReportReceiver(self._puller, self._publisher, self._registry, self._state)
        self._commands = CommandHandler(self._state, self._registry, store)
        self._subscribers: list[Callable[[], None]] = []
        self._code_published = 0.0
        self._saved = 0.0
        self._ticking = gevent.spawn(self._tick)

    @property
    def nodes(self) -> dict[str, NodeView]:
        """The nodes that have joined, by name."""
        return self._registry.nodes

    @property
    def run(self) -> Run | None:
        """The current run, or the last one that ended."""
        return self._state.run

    @property
    def ended(self) -> Flag:
        """Set when the run has ended."""
        return self._state.ended

    @property
    def endpoints(self) -> tuple[str, str]:
        """The addresses for plans and for reports, with the actual ports."""
        return self._publisher.endpoint, self._puller.endpoint

    @property
    def counted(self) -> dict[str, int]:
        """The numbers of refused reports, repeated reports and refused nodes."""
        return self._registry.counted

    @property
    def store_error(self) -> str:
        """One line with the reason why the run store cannot be written, or an empty string."""
        return self._saver.store_error

    def save(self) -> bool:
        """Store everything pending. Return whether the whole run is stored."""
        return self._saver.save() or not self._saver.unwritten

    def close(self) -> None:
        """Save the run and close the sockets. The nodes continue without a master.

        If the save fails, the log says what is lost.
        """
        self._ticking.kill()
        self._receiver.close()
        if self.run is not None and self.run.active:
            self._state.reassign_users()  # so the next master knows the node processes that joined
        if not self.save() and (self._store is None or self._store.required):
            log.error("%s", self.store_error)
        self._publisher.close()
        self._puller.close()

    def handle(self, command: commands.Command) -> Answer:
        """Carry out a command and return its answer. Raises AmocError with a one-line message."""
        return self._commands.handle(command)

    def attach(self, output: StateSource | None) -> None:
        """Store the pending data of `output` with each run. None means that nothing is pending."""
        self._saver.attach(output)

    def subscribe(self, on_tick: Callable[[], None]) -> None:
        """Call `on_tick` at each tick, so that it can detect changes. It must not block."""
        self._subscribers.append(on_tick)

    def note(self, kind: str, text: str) -> None:
        """Record an event of the current run, if there is one."""
        self._state.event(kind, text)

    def pending(self) -> dict[str, bytes]:
        """Return the pending data that an earlier master's output stored, by key."""
        return self._saver.pending()

    def find_run(self, run_id: str = "") -> Run:
        """Return the run with this id, or the latest without one. Raises AmocError for none."""
        run = self.run
        if run is not None and run_id in {"", run.id}:
            return run
        if self._store is None:
            raise AmocError(f"there is no run {run_id}".rstrip())
        latest = [line.run for line in self._store.list()[:1]]
        if not run_id and not latest:
            raise AmocError("there was no run yet: start one with `do SCENARIO FIRST LAST`")
        return self._store.load(run_id or latest[0])

    # The periodic work

    def _tick(self) -> None:
        while True:
            for step in (self._do_what_is_due, *self._subscribers):
                try:
                    step()
                except Exception:  # the boundary around one step of a tick
                    log.exception("a step of the master's tick failed")
            gevent.sleep(TICK_S)

    def _do_what_is_due(self) -> None:
        self._watch.check()
        self._receiver.check_leases()
        self._state.advance()
        now = clock.monotonic()
        if self._store is None or now - self._saved >= self._save_pause:
            self._saved = now
            try:
                self._saver.save(back_off=True)
            finally:  # even if the save fails, live nodes keep their leases
                self._receiver.acknowledge()
        self._publish_due(now)

    @property
    def _save_pause(self) -> float:
        """Seconds between periodic saves. The acknowledgements after them renew leases."""
        return max(SAVE_S, min(lifecycle.min_interval(self.nodes) / 2, self._registry.lease / 8))

    def _publish_due(self, now: float) -> None:
        """Publish the plan or a beat when due, and the sources that a node lacks."""
        present = lifecycle.present(self.nodes)
        if now - self._state.published >= max(PUBLISH_S, 2 * lifecycle.min_interval(self.nodes)):
            if any(node.behind(self._state.plan) for node in present):
                self._state.publish()
            else:
                self._state.beat()
        wanted = self._state.plan.code
        if wanted and any(node.wants == wanted for node in present):
            self._publish_code(wanted, now)

    def _publish_code(self, wanted: str, now: float) -> None:
        if now - self._code_published < PUBLISH_S:
            return
        self._code_published = now
        if code := self._saver.code:
            self._publisher.send(code_topic(wanted), code)
