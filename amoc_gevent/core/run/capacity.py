"""Computes how many users a machine can hold, from the measured cost of a user and its resources.

The cost comes from probes with a few users of one scenario, so it holds for that scenario only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, inf

CPU_SHARE = 0.9
"""The usable share of the cores. Above it a generator is late."""

MEMORY_SHARE = 0.9
DESCRIPTORS_BASE = 64
TIME_WAIT_S = 60.0
"""How long Linux keeps the port of a connection that this side closed."""

REUSE_S = 1.0
"""The same with tcp_tw_reuse."""


@dataclass(frozen=True, slots=True)
class UserCost:
    """The cost of one user: bytes, descriptors, share of a core, new connections per second.

    `base` is the memory in bytes of a worker without users.
    """

    memory: float
    base: float
    descriptors: float
    cpu: float
    connections: float


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine's resources: `ports` for outgoing connections, `memory` free bytes."""

    cores: int
    memory: float
    descriptors: int
    ports: int
    reuses_ports: bool


@dataclass(frozen=True, slots=True)
class MachineLimit:
    """One limit: the amount needed, the amount available, and the number of users that it allows.

    `max_users` is inf if users need nothing of it. `remedy` says what to do if it is too small.
    """

    name: str
    needed: float
    available: float
    max_users: float
    unit: str
    remedy: str

    def breaks(self, users: int) -> bool:
        """Whether the limit allows fewer than `users`."""
        return self.max_users < users


def limits(cost: UserCost, machine: Machine, users: int, workers: int) -> list[MachineLimit]:
    """Return all limits of a machine that is to hold `users`, the tightest first."""
    each = users / workers
    found = [
        _limit(
            "descriptors",
            ceil(each * cost.descriptors) + DESCRIPTORS_BASE,
            machine.descriptors,
            (machine.descriptors - DESCRIPTORS_BASE) * workers,
            cost.descriptors,
            "in each worker",
            "raise the file limit (make prepare, or ulimit -n), or use more workers",
        ),
        _limit(
            "ports",
            users * _ports(cost, machine),
            machine.ports,
            machine.ports,
            _ports(cost, machine),
            "to one target",
            "widen net.ipv4.ip_local_port_range and set net.ipv4.tcp_tw_reuse (make prepare),"
            " keep connections open, give the target more addresses or ports, or use more machines",
        ),
        _limit(
            "memory",
            (workers * cost.base + users * cost.memory) / 1e6,
            machine.memory * MEMORY_SHARE / 1e6,
            machine.memory * MEMORY_SHARE - workers * cost.base,
            cost.memory,
            "MB",
            "use more machines, or keep less state in each user",
        ),
        _limit(
            "CPU",
            users * cost.cpu,
            min(workers, machine.cores) * CPU_SHARE,
            min(workers, machine.cores) * CPU_SHARE,
            cost.cpu,
            "cores",
            "use more machines or workers, or longer think times",
        ),
    ]
    return sorted(found, key=lambda one: one.max_users)


def _ports(cost: UserCost, machine: Machine) -> float:
    """Return the ports that a user occupies: open connections, and closed ones in TIME_WAIT."""
    waiting = REUSE_S if machine.reuses_ports else TIME_WAIT_S
    return cost.descriptors + cost.connections * waiting


def _limit(
    name: str,
    needed: float,
    available: float,
    room: float,
    each: float,
    unit: str,
    remedy: str,
) -> MachineLimit:
    max_users = inf if each <= 0 else max(0.0, float(int(room / each)))
    return MachineLimit(name, needed, available, max_users, unit, remedy)


def cost_of(few: Mapping[str, float], many: Mapping[str, float]) -> UserCost:
    """Return the cost of one user from two probes: the figures of a worker with `users` users.

    The growth between the probes is the cost of the additional users. Negative growth counts as 0.
    """
    more = many["users"] - few["users"]

    def grown(name: str) -> float:
        return max(0.0, (many[name] - few[name]) / more)

    memory = grown("memory")
    base = max(0.0, few["memory"] - memory * few["users"])
    return UserCost(memory, base, grown("descriptors"), grown("cpu"), grown("connections"))


def at_rest(cost: UserCost, cycle: float, probed: float, interval: float) -> UserCost:
    """Return the cost if users rest `interval` seconds between iterations instead of `probed`.

    `cycle`: seconds from the start of one iteration to the next, with the rest of the probe.
    """
    share = cycle / max(cycle - probed + interval, 0.001)
    return replace(cost, cpu=cost.cpu * share, connections=cost.connections * share)
