"""Carries out commands: checks the run's state, changes the plan and returns an answer."""

import uuid
from collections.abc import Callable, Sequence

import gevent
from gevent.lock import BoundedSemaphore

from amoc_gevent import clock
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
from amoc_gevent.master.registry import NodeRegistry
from amoc_gevent.master.run_lines import run_list
from amoc_gevent.master.run_state import RunState, this_moment
from amoc_gevent.master.store import Store, lines_of

SET_TIMEOUT_S = 3.0
POLL_S = 0.05
"""Pause between two checks whether all workers have answered a proposed setting."""


class CommandHandler:
    """Changes the run of `state` on the nodes of `registry`. `store`, if any, lists past runs."""

    def __init__(self, state: RunState, registry: NodeRegistry, store: Store | None) -> None:
        self._state = state
        self._registry = registry
        self._store = store
        self._setting = BoundedSemaphore()
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

    def handle(self, command: commands.Command) -> Answer:
        """Carry out a command and return its answer. Raises AmocError with a one-line message."""
        handler = self._handlers.get(type(command))
        if handler is None:
            raise UsageError(f"the master has no command {type(command).__name__.lower()}")
        return handler(command)

    def _present(self) -> list[NodeView]:
        return lifecycle.present(self._registry.nodes)

    def _do(self, command: commands.Do) -> Started:
        planning.check_do(self._state.run, command)
        chosen = planning.select_nodes(self._registry.nodes, command.nodes)
        path = find(command.scenario)
        code, packed = pack(path)
        plan = Plan(
            self._state.version + 1, uuid.uuid4().hex[:12], scenario=str(resolved(path)), code=code
        )
        run, event = planning.new_run(command, chosen, plan)
        self._state.begin(run, packed)
        self._state.apply([event])
        self._state.saver.save()
        self._state.publish()
        return Started(run.id, command.last - command.first + 1)

    def _changeable_run(self) -> Run:
        run = planning.require_changeable(self._state.run)
        self._state.reassign_users()  # so that new users belong to the node's current process
        return run

    def _apply(self, changes: Sequence[Change]) -> None:
        """Apply a command's changes. Raises AmocError if they cannot be stored."""
        self._state.apply(changes, must_store=True)
        self._state.count_users()

    def _add(self, command: commands.Add) -> Added:
        run = self._changeable_run()
        batch, changes = planning.add(run, self._registry.nodes, command, clock.steady())
        self._apply(changes)
        return Added(batch.first, batch.last)

    def _remove(self, command: commands.Remove) -> Removed:
        run = self._changeable_run()
        count, changes = planning.remove(run, self._registry.nodes, command)
        self._apply(changes)
        return Removed(count, command.count)

    def _set(self, command: commands.Set) -> Changed:
        """Change an option here, or propose a setting to the workers and wait for their answers."""
        run = self._changeable_run()
        if command.name in OPTIONS:
            options = changed_option(run.plan.options, command.name, command.value)
            self._apply([PlanChange({"options": options})])
        else:
            with self._setting:
                self._propose(command)
        self._state.apply([NewEvent("set", f"{command.name} = {command.value}")])
        return Changed(command.name, command.value)

    def _propose(self, command: commands.Set) -> None:
        """Have each worker try a setting, and add it to the plan if none refuses."""
        run = self._changeable_run()
        if run.status == "starting":
            raise AmocError(f"run {run.id} is starting: set {command.name} once it runs")
        events_before = len(run.events)
        number = self._state.version + 1
        self._apply([PlanChange({"proposal": Proposal(number, command.name, command.value)})])
        version, deadline = self._state.version, clock.monotonic() + SET_TIMEOUT_S
        try:
            while any(not node.has(run.id, version) for node in self._present()):
                if clock.monotonic() > deadline:
                    raise AmocError(
                        f"{command.name}: not every worker answered within {SET_TIMEOUT_S:.0f} s, "
                        "so only some may use the new value; set it again"
                    )
                gevent.sleep(POLL_S)
        finally:
            # The workers have the proposal, stored or not.
            self._state.apply([PlanChange({"proposal": None})])
        for event in run.events[events_before:]:
            if event.kind == "set-refused":
                raise UsageError(event.text)
        settings = {**run.plan.settings, command.name: command.value}
        self._apply_to(run, PlanChange({"settings": settings}))

    def _apply_to(self, run: Run, change: Change) -> None:
        """Apply a change that the workers already have, stored or not, unless another run began."""
        if self._state.run is run:
            self._state.apply([change])

    def _pause(self, _command: commands.Pause) -> Pausing:
        run = self._changeable_run()
        self._apply(planning.pause(run, clock.steady()))
        return Pausing(run.id, paused=True)

    def _resume(self, _command: commands.Resume) -> Pausing:
        run = self._changeable_run()
        self._apply(planning.resume(run, clock.steady()))
        return Pausing(run.id, paused=False)

    def _rebalance(self, _command: commands.Rebalance) -> Rebalanced:
        run = self._changeable_run()
        moves, changes = planning.rebalance(run, self._registry.nodes)
        self._apply(changes)
        return Rebalanced(run.id, moves)

    def _stop(self, command: commands.Stop) -> Stopping:
        run = planning.require_active(self._state.run)
        self._state.apply(lifecycle.stop(run, this_moment(), force=command.force))
        return Stopping(run.id, run.status, run.plan.force)

    def _status(self, _command: commands.Status) -> IdleStatus | RunStatus:
        self._state.count_users()
        return status_of(self._state.run, len(self._present()), clock.steady())

    def _describe(self, _command: commands.Describe) -> Description:
        run = self._state.run
        if run is None or run.declared is None:
            why = "no node has loaded its scenario yet" if run is not None else "there is no run"
            raise AmocError(f"{why}: `amoc describe SCENARIO` loads one without a run")
        return description_of(run, run.declared.manifest)

    def _nodes(self, _command: commands.Nodes) -> NodeList:
        return node_list(self._registry.nodes.values(), clock.monotonic())

    def _runs(self, _command: commands.Runs) -> RunList:
        return run_list(lines_of(self._store, self._state.run))
