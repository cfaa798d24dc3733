"""Simulated nodes in one process: real sockets and real reports, but no workers and no users.

`python -m benchmarks.simulated_nodes PLANS REPORTS FIRST COUNT NOTES` simulates COUNT nodes from
`node-FIRST` on. Each reports once a second, with `--calls` of each operation. The file NOTES has
the progress of all nodes. With `--play SECONDS` each node, once a run starts, reports the seconds
before the start, as fast as the master acknowledges them: the master refuses reports from the
future.
"""

import argparse
import signal
import uuid
from functools import lru_cache
from pathlib import Path

import gevent
from gevent.event import Event

from amoc_gevent import clock
from amoc_gevent.bus.sockets import Listener, Pusher
from amoc_gevent.bus.topics import BEAT, CODE, PLAN, ack_topic
from amoc_gevent.core.clock_offset import ClockOffset
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import (
    Beat,
    Clock,
    UserCounts,
    decode_ack,
    decode_beat,
    decode_plan,
    encode,
)
from amoc_gevent.core.run.plan import Plan
from amoc_gevent.node.outbox import Outbox
from amoc_gevent.worker.health import raise_descriptor_limit
from benchmarks import notes
from benchmarks.reports import CALLS, report_of, snapshots, users_of

REPORT_S = 1.0
NOTE_S = 0.05
WINDOW = 20
"""Unacknowledged reports of a node with `--play`. A real node has two or three."""


@lru_cache(maxsize=64)
def plan_of(data: bytes) -> tuple[Plan, dict[str, UserCounts]]:
    """Return a plan and the users of each node in it. The cache decodes once per process."""
    plan = decode_plan(data)
    return plan, users_of(plan)


@lru_cache(maxsize=64)
def beat_of(data: bytes) -> Beat:
    """Return a beat. The cache decodes once per process."""
    return decode_beat(data)


class SimulatedNode:
    """One node. `got_at` is when it got its `plan`, `played` the number of seconds played."""

    def __init__(
        self, number: int, plans: str, reports: str, play: int, measured: list[Snapshot]
    ) -> None:
        self.name = f"node-{number}"
        self._measured = measured
        self._number = number
        self._play = play
        self._incarnation = uuid.uuid4().hex
        self._ack_topic = ack_topic(self.name)
        self._listener = Listener(plans, (PLAN, BEAT, CODE, self._ack_topic))
        self._outbox = Outbox(Pusher(reports).push)
        self._offset = ClockOffset()
        self._acknowledged = Event()
        self.plan = Plan()
        self._users = UserCounts()
        self.got_at = 0.0
        self.joined_at = 0.0
        self.played = 0
        gevent.spawn(self._listen)
        gevent.spawn(self._report)

    def _listen(self) -> None:
        while True:
            topic, frames = self._listener.receive()
            now = clock.monotonic()
            if topic == self._ack_topic:
                self._take_ack(frames[0], now)
            elif topic in {PLAN, BEAT}:
                self._offset.add_one_way(beat_of(frames[0]).time, now)
            if topic == PLAN:
                plan, users = plan_of(frames[1])
                if plan.version != self.plan.version:
                    self.plan, self.got_at = plan, now
                    self._users = users.get(self.name, UserCounts())

    def _take_ack(self, data: bytes, now: float) -> None:
        ack = decode_ack(data)
        if ack.incarnation == self._incarnation:
            self.joined_at = self.joined_at or now
            self._outbox.acknowledge(ack.sequence)
            self._offset.add_exchange(ack.sent, ack.received, ack.time, now)
            self._acknowledged.set()

    def _report(self) -> None:
        gevent.sleep(self._number % 100 / 100 * REPORT_S)  # nodes do not report in step
        while True:
            if self.plan.status == "running" and self.played < self._play:
                self._play_on()
            else:
                self._send(int(clock.monotonic() + self._clock().offset))
                gevent.sleep(REPORT_S)

    def _play_on(self) -> None:
        began = int(self.plan.batches[0].start) - self._play
        while self.played < self._play:
            while self._outbox.next - self._outbox.oldest >= WINDOW:
                self._acknowledged.clear()
                self._acknowledged.wait(REPORT_S)
            self._send(began + self.played)
            self.played += 1

    def _clock(self) -> Clock:
        offset, bound = self._offset.at(clock.monotonic())
        return Clock(offset, offset - clock.wall_minus_monotonic(), bound)

    def _send(self, second: int) -> None:
        running = self.plan.status == "running"
        one = self._measured[(self._number + second) % len(self._measured)]
        report = report_of(
            self.name,
            self._incarnation,
            self._outbox.next,
            self._outbox.oldest,
            self.plan,
            self._clock(),
            users=self._users,
            measured=((second, one),) if running else (),
        )
        self._outbox.send(encode(report))


def note(nodes: list[SimulatedNode], path: Path) -> None:
    """Write the progress of all nodes, such as when the last one joined and got the plan."""
    versions = {node.plan.version for node in nodes}
    told = {
        "joined": sum(node.joined_at > 0 for node in nodes),
        "joined_at": max(node.joined_at for node in nodes),
        "version": min(versions),
        "got_at": max(node.got_at for node in nodes) if len(versions) == 1 else 0.0,
        "played": min(node.played for node in nodes),
    }
    notes.write(path, told)


def main() -> None:
    """Simulate until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulated_nodes", description=__doc__
    )
    parser.add_argument("plans")
    parser.add_argument("reports")
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("notes", type=Path)
    parser.add_argument("--play", type=int, default=0, metavar="SECONDS")
    parser.add_argument(
        "--calls", type=int, default=CALLS, help="calls of each operation per second"
    )
    given = parser.parse_args()
    raise_descriptor_limit()
    ended = Event()
    gevent.signal_handler(signal.SIGTERM, ended.set)
    measured = snapshots(given.calls)
    nodes = [
        SimulatedNode(number, given.plans, given.reports, given.play, measured)
        for number in range(given.first, given.first + given.count)
    ]
    while not ended.wait(NOTE_S):
        note(nodes, given.notes)


if __name__ == "__main__":
    main()
