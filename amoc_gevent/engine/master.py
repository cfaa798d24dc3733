"""The master: carries out commands on the plan, which its nodes then make real.

Each verb checks the run's state first, and answers a value or raises an AmocError.
"""

import logging
import uuid
from collections.abc import Callable
from contextlib import suppress

import gevent
from gevent.event import Event as Flag
from gevent.lock import BoundedSemaphore

from amoc_gevent import clock
from amoc_gevent.core import commands
from amoc_gevent.core.listing import nodes_of
from amoc_gevent.core.nodes import NodeView
from amoc_gevent.core.options import OPTIONS, changed_option
from amoc_gevent.core.pending import Output
from amoc_gevent.core.placement import next_slot, pattern, rebalancing, removals_of, rotated
from amoc_gevent.core.plan import STRATEGIES, UNRELEASED, Batch, Plan, Proposal, Strategy, undelayed
from amoc_gevent.core.run import Run
from amoc_gevent.core.status import status_of
from amoc_gevent.core.units import format_duration
from amoc_gevent.engine.bus import Keys, Publisher, Puller, SocketWatch
from amoc_gevent.engine.catalogue import find
from amoc_gevent.engine.conductor import LEAD_S, Conductor
from amoc_gevent.engine.fleet import Ears, Fleet
from amoc_gevent.engine.keeper import FAILURES, Keeper
from amoc_gevent.engine.places import resolved
from amoc_gevent.engine.sources import pack
from amoc_gevent.engine.store import Line, Store, line_of
from amoc_gevent.engine.topics import code_topic
from amoc_gevent.errors import AmocError, UsageError

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
ID_MAX = 2**53
"""Ids travel as JSON numbers too, which are exact up to here."""


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
        self.nodes: dict[str, NodeView] = {}
        if store is not None:
            self.nodes |= {node.name: node for node in store.nodes(clock.monotonic())}
        self._keeper = Keeper(self._publisher, self.nodes, store, self._on_saved)
        self._conductor = conductor = Conductor(self._keeper, self.nodes)
        ears = Ears(
            joined=conductor.joined,
            report=conductor.report,
            lost=conductor.lost,
            back=conductor.back,
            left=conductor.left,
            gone=self._on_gone,
            refused=conductor.refused,
        )
        self._fleet = Fleet(
            self._publisher,
            self._puller,
            self.nodes,
            lease,
            lambda: self._keeper.plan,
            ears,
            stored=store is not None,
        )
        self._code_told = 0.0
        self._saved = 0.0
        self._setting = BoundedSemaphore()
        self._ticking = gevent.spawn(self._tick)
        self._handlers: dict[type, Callable[..., dict[str, object]]] = {
            commands.Do: self._do,
            commands.Add: self._add,
            commands.Remove: self._remove,
            commands.Set: self._set,
            commands.Pause: self._pause,
            commands.Resume: self._resume,
            commands.Rebalance: self._rebalance,
            commands.Stop: self._stop,
            commands.Status: self._status,
            commands.Nodes: self._nodes,
            commands.Runs: self._runs,
        }

    @property
    def run(self) -> Run | None:
        """The run that goes on, or that ended last."""
        return self._keeper.run

    @property
    def ended(self) -> Flag:
        """Set when the run has ended."""
        return self._conductor.ended

    @property
    def endpoints(self) -> tuple[str, str]:
        """Where it listens, with the ports that it got: for plans and for reports."""
        return self._publisher.endpoint, self._puller.endpoint

    @property
    def counted(self) -> dict[str, int]:
        """How many reports were refused or came twice, and how many nodes were refused."""
        return self._fleet.counted

    @property
    def trouble(self) -> str:
        """A line that says why the run store cannot be written; empty where it can."""
        return self._keeper.trouble

    def save(self) -> bool:
        """Store what there is; return whether all of the run is stored."""
        return self._keeper.save() or not self._keeper.unwritten

    def close(self) -> None:
        """Save what there is, and close the sockets. The run goes on without a master.

        The log says what is lost where that cannot be saved.
        """
        self._ticking.kill()
        self._fleet.close()
        if self.run is not None and self.run.active:
            self._conductor.home(self.run)  # the next master knows the processes that have joined
        if not self.save():
            log.error("%s", self.trouble)
        self._publisher.close()
        self._puller.close()

    def handle(self, command: commands.Command) -> dict[str, object]:
        """Carry out one command and return its answer, or raise an AmocError of one line."""
        handler = self._handlers.get(type(command))
        if handler is None:
            raise UsageError(f"a master does not answer {type(command).__name__.lower()}")
        return handler(command)

    def attach(self, output: Output | None) -> None:
        """Store what is pending of `output` with each run; without one, nothing is pending."""
        self._keeper.attach(output)

    def pending(self) -> dict[str, bytes]:
        """Return what an earlier master's output left, by its keys."""
        return self._keeper.pending()

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

    # What nodes do

    def _on_saved(self, numbers: dict[str, tuple[str, int]]) -> None:
        self._fleet.saved(numbers)

    def _on_gone(self, node: NodeView) -> None:
        if self._store is not None:
            with suppress(*FAILURES):  # then it is known to the next master, and lost there
                self._store.forget_node(node.name)

    def _tick(self) -> None:
        while True:
            try:
                self._do_what_is_due()
            except Exception:  # the boundary around what one moment brings: the next one comes
                log.exception("a moment of the master failed")
            gevent.sleep(TICK_S)

    def _do_what_is_due(self) -> None:
        self._watch.look()
        self._fleet.look()
        self._conductor.advance()
        now = clock.monotonic()
        if self._store is None or now - self._saved >= self._save_pause:
            self._saved = now
            try:
                self._keeper.save(patient=True)
            finally:  # whatever happens, nodes that are heard keep their users
                self._fleet.acknowledge()
        self._tell(now)

    @property
    def _save_pause(self) -> float:
        """Seconds between two times: the nodes' leases are renewed by what is answered then."""
        return max(SAVE_S, min(self._conductor.pause / 2, self._fleet.lease / 8))

    def _tell(self, now: float) -> None:
        """Publish the plan again where a node has not got it, and sources that one lacks."""
        present = self._conductor.present
        if now - self._keeper.published >= max(PUBLISH_S, 2 * self._conductor.pause):
            if any(node.behind(self._keeper.plan) for node in present):
                self._keeper.publish()
            else:
                self._keeper.beat()
        wanted = self._keeper.plan.code
        if wanted and any(node.wants == wanted for node in present):
            self._tell_code(wanted, now)

    def _tell_code(self, wanted: str, now: float) -> None:
        if now - self._code_told < PUBLISH_S:
            return
        self._code_told = now
        if code := self._keeper.code():
            self._publisher.tell(code_topic(wanted), code)

    # Commands

    def _do(self, command: commands.Do) -> dict[str, object]:
        if self.run is not None and self.run.active:
            raise AmocError(f"run {self.run.id} is {self.run.status}: stop it before the next one")
        if not 1 <= command.first <= command.last <= ID_MAX:
            raise UsageError(
                f"users {command.first} to {command.last}: they begin at 1, the lowest first, "
                f"and end at {ID_MAX}"
            )
        if command.duration is not None and command.duration <= 0:
            text = format_duration(command.duration)
            raise UsageError(f"duration {text}: a run lasts longer than 0; without one, until stop")
        strategy = _strategy(command.strategy)
        chosen = self._chosen(command.nodes)
        path = find(command.scenario)
        code, packed = pack(path)
        rate = command.options.user_rate
        nodes = pattern(strategy, {node.name: max(1, node.workers) for node in chosen})
        plan = Plan(
            version=self._keeper.version + 1,
            run=uuid.uuid4().hex[:12],
            status="starting",
            scenario=str(resolved(path)),
            code=code,
            settings=dict(command.settings),
            options=command.options,
            batches=(Batch(command.first, command.last, UNRELEASED, rate, nodes, strategy),),
        )
        run = Run(
            plan,
            command.first,
            command.last,
            command.comment,
            command.duration,
            workers=sum(node.workers for node in chosen),
        )
        self._keeper.begin(run, packed)
        self._conductor.begin(run)
        where = f" on {', '.join(node.name for node in chosen)}" if len(chosen) > 1 else ""
        self._keeper.event(
            "start", f"{run.scenario} with users {command.first} to {command.last}{where}"
        )
        self._keeper.save()
        self._keeper.publish()
        return {"run": plan.run, "users": command.last - command.first + 1}

    def _chosen(self, names: tuple[str, ...]) -> list[NodeView]:
        """Return the nodes of these names, or all that can take users. Raises AmocError."""
        present = {node.name: node for node in self._conductor.present}
        if not present:
            raise AmocError("no node has joined this master yet")
        unknown = [name for name in names if name not in present]
        if unknown:
            raise UsageError(f"there is no node {unknown[0]}; there are {', '.join(present)}")
        if len({*names}) < len(names):
            raise UsageError(f"nodes {', '.join(names)}: each one once")
        return [present[name] for name in names or present]

    def _active(self) -> Run:
        if self.run is None or not self.run.active:
            raise AmocError("there is no run: start one with `do SCENARIO FIRST LAST`")
        return self.run

    def _growing(self) -> Run:
        run = self._active()
        if run.status == "stopping":
            raise AmocError(f"run {run.id} is stopping")
        self._conductor.home(run)  # what is given to a node from now on is not of its last life
        return run

    def _add(self, command: commands.Add) -> dict[str, object]:
        run = self._growing()
        if command.count < 1:
            raise UsageError(f"add {command.count}: give a number of users, 1 or more")
        plan, first = run.plan, run.plan.highest + 1
        if first + command.count - 1 > ID_MAX:
            raise UsageError(f"add {command.count}: ids end at {ID_MAX}")
        chosen = self._chosen(command.nodes)
        start = UNRELEASED
        if run.status == "running":
            now = undelayed(clock.steady() + LEAD_S, plan.pauses)
            start = next_slot(plan, run.ended_ids, now)
        strategy = plan.batches[0].strategy
        nodes = pattern(strategy, {node.name: max(1, node.workers) for node in chosen})
        if strategy == "round-robin" and not command.nodes:
            nodes = rotated(nodes, plan.batches)
        last = first + command.count - 1
        batch = Batch(first, last, start, plan.options.user_rate, nodes, strategy)
        self._change(run, batches=(*plan.batches, batch))
        self._keeper.event("add", f"{command.count} users, {first} to {last}")
        return {"first": first, "last": last}

    def _remove(self, command: commands.Remove) -> dict[str, object]:
        run = self._growing()
        if command.count < 1:
            raise UsageError(f"remove {command.count}: give a number of users, 1 or more")
        nodes = tuple(node.name for node in self._chosen(command.nodes)) if command.nodes else ()
        new = removals_of(run.plan, run.ended_ids, command.count, nodes, force=command.force)
        count = sum(len(removal.ids) for removal in new)
        self._change(run, removals=run.plan.removals + new)
        self._keeper.event("remove", f"{count} users{' by force' if command.force else ''}")
        return {"removed": count}

    def _change(self, run: Run, **changes: object) -> None:
        self._keeper.change(run, must_store=True, **changes)
        self._conductor.count_users(run)

    def _set(self, command: commands.Set) -> dict[str, object]:
        """Change an option here, or propose a setting to the workers and hear what they say."""
        run = self._growing()
        if command.name in OPTIONS:
            self._change(run, options=changed_option(run.plan.options, command.name, command.value))
        else:
            with self._setting:
                self._propose(command)
        self._keeper.event("set", f"{command.name} = {command.value}")
        return {command.name: command.value}

    def _propose(self, command: commands.Set) -> None:
        """Have each worker try a setting; it is part of the plan once none of them refused."""
        run = self._growing()
        if run.status == "starting":
            raise AmocError(f"run {run.id} is starting: set {command.name} once it runs")
        told = len(run.events)
        number = self._keeper.version + 1
        self._change(run, proposal=Proposal(number, command.name, command.value))
        version, deadline = self._keeper.version, clock.monotonic() + SET_TIMEOUT_S
        try:
            while any(self._has_not_heard(node, run, version) for node in self._conductor.present):
                if clock.monotonic() > deadline:
                    raise AmocError(
                        f"{command.name}: not every worker answered within {SET_TIMEOUT_S:.0f} s, "
                        "some may have taken the value; set it again"
                    )
                gevent.sleep(TICK_S)
        finally:
            self._keeper.change(run, proposal=None)  # the workers have it, stored or not
        for event in run.events[told:]:
            if event.kind == "set-refused":
                raise UsageError(event.text)
        self._keeper.change(run, settings={**run.plan.settings, command.name: command.value})

    def _has_not_heard(self, node: NodeView, run: Run, version: int) -> bool:
        return node.run != run.id or node.plan_version < version

    def _pause(self, _command: commands.Pause) -> dict[str, object]:
        run = self._growing()
        if run.plan.paused:
            raise AmocError(f"run {run.id} is paused already: resume it")
        self._change(run, pauses=(*run.plan.pauses, (clock.steady(), UNRELEASED)))
        self._keeper.event("pause", "no new users start")
        return {"run": run.id, "paused": True}

    def _resume(self, _command: commands.Resume) -> dict[str, object]:
        run = self._growing()
        if not run.plan.paused:
            raise AmocError(f"run {run.id} is not paused")
        *before, (begin, _) = run.plan.pauses
        self._change(run, pauses=(*before, (begin, clock.steady())))
        self._keeper.event("resume", "users start again")
        return {"run": run.id, "paused": False}

    def _rebalance(self, _command: commands.Rebalance) -> dict[str, object]:
        run = self._growing()
        if run.status != "running" or self._conductor.moving:
            busy = "is starting" if run.status != "running" else "is still moving users"
            raise AmocError(f"run {run.id} {busy}: rebalance it in a moment")
        nodes = tuple(node.name for node in self._chosen(()))
        moves = rebalancing(run.plan, nodes, run.ended_ids)
        if moves:
            self._change(run, moves=(*run.plan.moves, *moves))
        self._keeper.event("rebalance", f"users spread anew over {', '.join(nodes)}")
        return {"run": run.id, "moves": len(moves)}

    def _stop(self, command: commands.Stop) -> dict[str, object]:
        run = self._active()
        self._conductor.begin_stop(run, force=command.force)
        return {"run": run.id, "status": run.status, "force": run.plan.force}

    def _status(self, _command: commands.Status) -> dict[str, object]:
        if self.run is not None:
            self._conductor.count_users(self.run)
        return status_of(self.run, len(self._conductor.present), clock.steady())

    def _nodes(self, _command: commands.Nodes) -> dict[str, object]:
        return {"nodes": nodes_of(self.nodes.values(), clock.monotonic())}

    def _runs(self, _command: commands.Runs) -> dict[str, object]:
        lines = self._store.list() if self._store is not None else []
        if self.run is not None:  # the store may be behind
            lines = _with_its_line(lines, line_of(self.run))
        return {
            "runs": [
                {
                    "run": line.run,
                    "scenario": line.scenario,
                    "status": line.status,
                    "started": clock.iso(line.began) if line.began else None,
                    "ended": clock.iso(line.ended) if line.ended else None,
                    "users": line.users,
                    "operations": line.operations,
                    "comment": line.comment,
                }
                for line in lines
            ]
        }


def _with_its_line(lines: list[Line], now: Line) -> list[Line]:
    """Return the runs, the latest first, with what one of them did up to now."""
    if all(line.run != now.run for line in lines):
        return [now, *lines]
    return [now if line.run == now.run else line for line in lines]


def _strategy(text: str) -> Strategy:
    if text and text not in STRATEGIES:
        raise UsageError(f"there is no strategy {text}; there are {', '.join(STRATEGIES)}")
    return next((one for one in STRATEGIES if one == text), "round-robin")
