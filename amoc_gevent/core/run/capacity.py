"""What limits how many users a machine can be: a measured share for each user against what it has.

Shares come from a probe of a few users of the same scenario, so they hold for it alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf

CPU_SHARE = 0.9
"""Of its cores: above that a generator is late."""

MEMORY_SHARE = 0.9
DESCRIPTORS_BASE = 64
TIME_WAIT_S = 60.0
"""For how long Linux keeps the port of a connection that this side closed."""

REUSE_S = 1.0
"""The same with tcp_tw_reuse."""


@dataclass(frozen=True, slots=True)
class UserCost:
    """What one user takes: bytes, descriptors, share of a core, new connections a second.

    `base` is the memory of a worker without users.
    """

    memory: float
    base: float
    descriptors: float
    cpu: float
    connections: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine has; `ports` from which connections go out, `memory` that is free in bytes."""

    cores: int
    memory: float
    descriptors: int
    ports: int
    reuses_ports: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One limit: what `users` need of it, what there is, and how many users it lets be.

    `most` is inf where users take nothing of it. `remedy` is what to do when it is too small.
    """

    what: str
    needed: float
    there: float
    most: float
    unit: str
    remedy: str

    def breaks(self, users: int) -> bool:
        """Whether so many users are too many."""
        return self.most < users


def findings(cost: UserCost, machine: Machine, users: int, workers: int) -> list[Finding]:
    """Return all limits of a machine that is to hold `users`, the nearest in front."""
    each = users / workers
    found = [
        _limit(
            "descriptors",
            ceil(each * cost.descriptors) + DESCRIPTORS_BASE,
            machine.descriptors,
            (machine.descriptors - DESCRIPTORS_BASE) * workers,
            cost.descriptors,
            "in each worker",
            "raise the file limit (make prepare, or ulimit -n), or take more workers",
        ),
        _limit(
            "ports",
            users * _ports(cost, machine),
            machine.ports,
            machine.ports,
            _ports(cost, machine),
            "to one target",
            "widen net.ipv4.ip_local_port_range and set net.ipv4.tcp_tw_reuse (make prepare),"
            " keep connections, give the target more addresses or ports, or take more machines",
        ),
        _limit(
            "memory",
            (workers * cost.base + users * cost.memory) / 1e6,
            machine.memory * MEMORY_SHARE / 1e6,
            machine.memory * MEMORY_SHARE - workers * cost.base,
            cost.memory,
            "MB",
            "take more machines, or let each user keep less",
        ),
        _limit(
            "CPU",
            users * cost.cpu,
            min(workers, machine.cores) * CPU_SHARE,
            min(workers, machine.cores) * CPU_SHARE,
            cost.cpu,
            "cores",
            "take more machines or workers, or longer pauses between what users do",
        ),
    ]
    return sorted(found, key=lambda one: one.most)


def _ports(cost: UserCost, machine: Machine) -> float:
    """Return ports that a user occupies: open connections, and those that wait after their end."""
    waiting = REUSE_S if machine.reuses_ports else TIME_WAIT_S
    return cost.descriptors + cost.connections * waiting


def _limit(
    what: str,
    needed: float,
    there: float,
    room: float,
    each: float,
    unit: str,
    remedy: str,
) -> Finding:
    most = inf if each <= 0 else max(0.0, float(int(room / each)))
    return Finding(what, needed, there, most, unit, remedy)


def cost_of(few: Mapping[str, float], many: Mapping[str, float]) -> UserCost:
    """Return what one user takes, from two probes: figures of a worker with `users` each.

    What grows from the one to the other is the users'; less than nothing is nothing.
    """
    more = many["users"] - few["users"]

    def grown(name: str) -> float:
        return max(0.0, (many[name] - few[name]) / more)

    memory = grown("memory")
    base = max(0.0, few["memory"] - memory * few["users"])
    return UserCost(memory, base, grown("descriptors"), grown("cpu"), grown("connections"))
