"""The master: carries out commands on the plan, which its nodes then make real.

Each verb checks the run's state first, and answers a value or raises an AmocError.
"""

import logging
import uuid
from collections.abc import Callable, Sequence

import gevent
from gevent.event import Event as Flag
from gevent.lock import BoundedSemaphore

from amoc_gevent import clock
from amoc_gevent.bus.addresses import SocketWatch
from amoc_gevent.bus.sockets import Keys, Publisher, Puller
from amoc_gevent.bus.topics import code_topic
from amoc_gevent.core.answers import (
    Added,
    Answer,
    Changed,
    Description,
    IdleStatus,
    NodeList,
    Pausing,
    Rebalanced,
    Removed,
    RunList,
    RunStatus,
    Started,
    Stopping,
)
from amoc_gevent.core.output_state import StateSource
from amoc_gevent.core.run import commands, lifecycle, planning
from amoc_gevent.core.run.changes import Change, NewEvent, PlanChange
from amoc_gevent.core.run.node_list import node_list
from amoc_gevent.core.run.nodes import NodeView
from amoc_gevent.core.run.options import OPTIONS, changed_option
from amoc_gevent.core.run.plan import Plan, Proposal
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.run.status import description_of, status_of
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.loading.catalogue import find
from amoc_gevent.loading.places import resolved
from amoc_gevent.loading.sources import pack
from amoc_gevent.master.reception import Reception
from amoc_gevent.master.registry import NodeRegistry
from amoc_gevent.master.run_lines import run_list
from amoc_gevent.master.run_state import RunState, this_moment
from amoc_gevent.master.saver import RunSaver
from amoc_gevent.master.store import Store, lines_of

log = logging.getLogger(__name__)

PUBLISH_S = 1.0
"""How often nodes hear of the plan, be it that it is the one they have; less often many of them."""

SAVE_S = 0.25
"""How often what was measured is stored, and then acknowledged; without a store at each tick.

Of many nodes it is added up less often: each time costs the same, however much has come.
"""

TICK_S = 0.05
REST_S = 0.005
"""How long reports may wait for others to be taken in with."""

SET_TIMEOUT_S = 3.0
NO_LEASE = float("inf")


class Master:
    """Runs one scenario at a time on the nodes that have joined.

    `plans` and `reports` are addresses to listen at; with `keys` they are encrypted. `local` are
    two more, ipc ones, which never are. A node that is silent for `lease` seconds loses its users.
    With `store`, a run outlives this process. `ours` says whether its home still is.
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
        ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._publisher = Publisher(plans, keys, local[0])
        self._puller = Puller(reports, keys, REST_S, local[1])
        self._watch = SocketWatch(self._publisher, self._puller, ours=ours)
        self._store = store
        known = store.nodes(clock.monotonic()) if store is not None else ()
        self._registry = NodeRegistry(lease, known=known, stored=store is not None)
        self._saver = RunSaver(self._registry, store)
        self._state = RunState(self._publisher, self._registry, self._saver)
        self._reception = Reception(self._puller, self._publisher, self._registry, self._state)
        self._subscribers: list[Callable[[], None]] = []
        self._code_told = 0.0
        self._saved = 0.0
        self._setting = BoundedSemaphore()
        self._ticking = gevent.spawn(self._tick)
        self._handlers: dict[type, Callable[..., Answer]] = {
            commands.Do: self._do,
            commands.Add: self._add,
            commands.Remove: self._remove,
            commands.Set: self._set,
            commands.Pause: self._pause,
            commands.Resume: self._resume,
            commands.Rebalance: self._rebalance,
            commands.Stop: self._stop,
            commands.Status: self._status,
            commands.Describe: self._describe,
            commands.Nodes: self._nodes,
            commands.Runs: self._runs,
        }

    @property
    def nodes(self) -> dict[str, NodeView]:
        """The nodes that have joined, by name."""
        return self._registry.nodes

    @property
    def run(self) -> Run | None:
        """The run that goes on, or that ended last."""
        return self._state.run

    @property
    def ended(self) -> Flag:
        """Set when the run has ended."""
        return self._state.ended

    @property
    def endpoints(self) -> tuple[str, str]:
        """Where it listens, with the ports that it got: for plans and for reports."""
        return self._publisher.endpoint, self._puller.endpoint

    @property
    def counted(self) -> dict[str, int]:
        """How many reports were refused or came twice, and how many nodes were refused."""
        return self._registry.counted

    @property
    def trouble(self) -> str:
        """A line that says why the run store cannot be written; empty where it can."""
        return self._saver.trouble

    def save(self) -> bool:
        """Store what there is; return whether all of the run is stored."""
        return self._saver.save() or not self._saver.unwritten

    def close(self) -> None:
        """Save what there is, and close the sockets. The run goes on without a master.

        The log says what is lost where that cannot be saved.
        """
        self._ticking.kill()
        self._reception.close()
        if self.run is not None and self.run.active:
            self._state.home()  # the next master knows the processes that have joined
        if not self.save() and (self._store is None or self._store.required):
            log.error("%s", self.trouble)
        self._publisher.close()
        self._puller.close()

    def handle(self, command: commands.Command) -> Answer:
        """Carry out one command and return its answer, or raise an AmocError of one line."""
        handler = self._handlers.get(type(command))
        if handler is None:
            raise UsageError(f"a master does not answer {type(command).__name__.lower()}")
        return handler(command)

    def attach(self, output: StateSource | None) -> None:
        """Store what is pending of `output` with each run; without one, nothing is pending."""
        self._saver.attach(output)

    def subscribe(self, look: Callable[[], None]) -> None:
        """Call `look` at each tick, for it to see what changed; it must not wait."""
        self._subscribers.append(look)

    def note(self, kind: str, text: str) -> None:
        """Record an event of the present run, if there is one."""
        self._state.event(kind, text)

    def pending(self) -> dict[str, bytes]:
        """Return what an earlier master's output left, by its keys."""
        return self._saver.pending()

    def find_run(self, run_id: str = "") -> Run:
        """Return a run of now or of the past; the latest without an id. Raises AmocError."""
        run = self.run
        if run is not None and run_id in {"", run.id}:
            return run
        if self._store is None:
            raise AmocError(f"there is no run {run_id}".rstrip())
        latest = [line.run for line in self._store.list()[:1]]
        if not run_id and not latest:
            raise AmocError("there was no run yet: start one with `do SCENARIO FIRST LAST`")
        return self._store.load(run_id or latest[0])

    # What is due

    def _tick(self) -> None:
        while True:
            for step in (self._do_what_is_due, *self._subscribers):
                try:
                    step()
                except Exception:  # the boundary around what one moment brings: the next one comes
                    log.exception("a moment of the master failed")
            gevent.sleep(TICK_S)

    def _do_what_is_due(self) -> None:
        self._watch.look()
        self._reception.look()
        self._state.advance()
        now = clock.monotonic()
        if self._store is None or now - self._saved >= self._save_pause:
            self._saved = now
            try:
                self._saver.save(patient=True)
            finally:  # whatever happens, nodes that are heard keep their users
                self._reception.acknowledge()
        self._tell(now)

    @property
    def _save_pause(self) -> float:
        """Seconds between two times: the nodes' leases are renewed by what is answered then."""
        return max(SAVE_S, min(lifecycle.pause(self.nodes) / 2, self._registry.lease / 8))

    def _tell(self, now: float) -> None:
        """Publish the plan again where a node has not got it, and sources that one lacks."""
        present = lifecycle.present(self.nodes)
        if now - self._state.published >= max(PUBLISH_S, 2 * lifecycle.pause(self.nodes)):
            if any(node.behind(self._state.plan) for node in present):
                self._state.publish()
            else:
                self._state.beat()
        wanted = self._state.plan.code
        if wanted and any(node.wants == wanted for node in present):
            self._tell_code(wanted, now)

    def _tell_code(self, wanted: str, now: float) -> None:
        if now - self._code_told < PUBLISH_S:
            return
        self._code_told = now
        if code := self._saver.code:
            self._publisher.tell(code_topic(wanted), code)

    # Commands

    def _do(self, command: commands.Do) -> Started:
        planning.check_do(self.run, command)
        chosen = planning.select_nodes(self.nodes, command.nodes)
        path = find(command.scenario)
        code, packed = pack(path)
        plan = Plan(
            self._state.version + 1, uuid.uuid4().hex[:12], scenario=str(resolved(path)), code=code
        )
        run, event = planning.new_run(command, chosen, plan)
        self._state.begin(run, packed)
        self._state.apply([event])
        self._saver.save()
        self._state.publish()
        return Started(run.id, command.last - command.first + 1)

    def _growing(self) -> Run:
        run = planning.require_changeable(self.run)
        self._state.home()  # what is given to a node from now on is not of its last life
        return run

    def _apply(self, changes: Sequence[Change]) -> None:
        """Apply what a command changes; where it cannot be stored, the command is refused."""
        self._state.apply(changes, must_store=True)
        self._state.count_users()

    def _add(self, command: commands.Add) -> Added:
        run = self._growing()
        batch, changes = planning.add(run, self.nodes, command, clock.steady())
        self._apply(changes)
        return Added(batch.first, batch.last)

    def _remove(self, command: commands.Remove) -> Removed:
        run = self._growing()
        count, changes = planning.remove(run, self.nodes, command)
        self._apply(changes)
        return Removed(count)

    def _set(self, command: commands.Set) -> Changed:
        """Change an option here, or propose a setting to the workers and hear what they say."""
        run = self._growing()
        if command.name in OPTIONS:
            options = changed_option(run.plan.options, command.name, command.value)
            self._apply([PlanChange({"options": options})])
        else:
            with self._setting:
                self._propose(command)
        self._state.apply([NewEvent("set", f"{command.name} = {command.value}")])
        return Changed(command.name, command.value)

    def _propose(self, command: commands.Set) -> None:
        """Have each worker try a setting; it is part of the plan once none of them refused."""
        run = self._growing()
        if run.status == "starting":
            raise AmocError(f"run {run.id} is starting: set {command.name} once it runs")
        told = len(run.events)
        number = self._state.version + 1
        self._apply([PlanChange({"proposal": Proposal(number, command.name, command.value)})])
        version, deadline = self._state.version, clock.monotonic() + SET_TIMEOUT_S
        try:
            while any(not node.has(run.id, version) for node in lifecycle.present(self.nodes)):
                if clock.monotonic() > deadline:
                    raise AmocError(
                        f"{command.name}: not every worker answered within {SET_TIMEOUT_S:.0f} s, "
                        "some may have taken the value; set it again"
                    )
                gevent.sleep(TICK_S)
        finally:
            self._state.apply(
                [PlanChange({"proposal": None})]
            )  # the workers have it, stored or not
        for event in run.events[told:]:
            if event.kind == "set-refused":
                raise UsageError(event.text)
        settings = {**run.plan.settings, command.name: command.value}
        self._apply_to(run, PlanChange({"settings": settings}))

    def _apply_to(self, run: Run, change: Change) -> None:
        """Apply what the workers have already, stored or not, unless another run began since."""
        if self.run is run:
            self._state.apply([change])

    def _pause(self, _command: commands.Pause) -> Pausing:
        run = self._growing()
        self._apply(planning.pause(run, clock.steady()))
        return Pausing(run.id, paused=True)

    def _resume(self, _command: commands.Resume) -> Pausing:
        run = self._growing()
        self._apply(planning.resume(run, clock.steady()))
        return Pausing(run.id, paused=False)

    def _rebalance(self, _command: commands.Rebalance) -> Rebalanced:
        run = self._growing()
        moves, changes = planning.rebalance(run, self.nodes)
        self._apply(changes)
        return Rebalanced(run.id, moves)

    def _stop(self, command: commands.Stop) -> Stopping:
        run = planning.require_active(self.run)
        self._state.apply(lifecycle.stop(run, this_moment(), force=command.force))
        return Stopping(run.id, run.status, run.plan.force)

    def _status(self, _command: commands.Status) -> IdleStatus | RunStatus:
        self._state.count_users()
        return status_of(self.run, len(lifecycle.present(self.nodes)), clock.steady())

    def _describe(self, _command: commands.Describe) -> Description:
        run = self.run
        if run is None or run.declared is None:
            why = "no node has loaded its scenario yet" if run is not None else "there is no run"
            raise AmocError(f"{why}: `amoc describe SCENARIO` loads one without a run")
        return description_of(run, run.declared.manifest)

    def _nodes(self, _command: commands.Nodes) -> NodeList:
        return node_list(self.nodes.values(), clock.monotonic())

    def _runs(self, _command: commands.Runs) -> RunList:
        return run_list(lines_of(self._store, self.run))
