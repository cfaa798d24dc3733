"""The node's connection to its master: messages and clock readings in, numbered reports out."""

import logging
import uuid
from typing import NamedTuple

from amoc_gevent import clock
from amoc_gevent.bus.sockets import Keys, Listener, Pusher
from amoc_gevent.bus.topics import BEAT, CODE, PLAN, ack_topic
from amoc_gevent.core.clock_offset import ClockOffset
from amoc_gevent.core.messages import (
    Ack,
    Beat,
    Clock,
    MessageError,
    decode_ack,
    decode_beat,
    decode_plan,
)
from amoc_gevent.core.run.plan import Plan
from amoc_gevent.node.handshakes import HandshakeWatch
from amoc_gevent.node.lease import NEVER
from amoc_gevent.node.outbox import Outbox

log = logging.getLogger(__name__)


class MasterAddress(NamedTuple):
    """Where a master publishes its plans and receives reports; `keys` encrypt both."""

    plans: str
    reports: str
    keys: Keys | None = None


class PublishedSources(NamedTuple):
    """A scenario's packed sources, as the master published them under `topic`."""

    topic: bytes
    data: bytes


class MasterConnection:
    """Connects the node `name` to the master at `address`: receives messages and sends reports.

    The last message came from the master process `master_incarnation`, at the monotonic time
    `heard`. `refused` says why the node cannot work with this master; it is empty if all is well.
    """

    def __init__(self, name: str, address: MasterAddress) -> None:
        self._ack_topic = ack_topic(name)
        topics = (PLAN, BEAT, CODE, self._ack_topic)
        self._listener = Listener(address.plans, topics, address.keys)
        self._reports = Pusher(address.reports, keys=address.keys)
        self._handshakes = HandshakeWatch(
            self._listener, self._reports, keyed=address.keys is not None
        )
        self._offset = ClockOffset()
        self.sockets = (self._listener, self._reports)
        self.incarnation = uuid.uuid4().hex
        self.outbox = Outbox(self._reports.push)
        self.master_incarnation = ""
        self.heard = NEVER
        self.refused = ""

    def close(self) -> None:
        """Close both sockets."""
        for socket in self.sockets:
            socket.close()

    def receive(self) -> Plan | Ack | PublishedSources:
        """Return the next plan, sources, or acknowledgement of this node's reports.

        Beats and refusals are handled here. Raises MessageError for an invalid message.
        """
        while True:
            topic, frames = self._listener.receive()
            if topic == self._ack_topic and len(frames) == 1:
                ack = decode_ack(frames[0])
                if self._accept(ack):
                    return ack
            elif topic == BEAT and len(frames) == 1:
                self._take_beat(decode_beat(frames[0]))
            elif topic == PLAN and len(frames) == 2:
                self._take_beat(decode_beat(frames[0]))
                return decode_plan(frames[1])
            elif topic.startswith(CODE) and len(frames) == 1:
                return PublishedSources(topic, frames[0])
            else:
                raise MessageError(f"{len(frames)} frames about {topic[:40]!r}")

    def _take_beat(self, beat: Beat) -> None:
        now = clock.monotonic()
        self.heard = now
        if beat.incarnation != self.master_incarnation:
            self.master_incarnation = beat.incarnation
            self._offset.reset()
        self._offset.add_one_way(beat.time, now)

    def _accept(self, ack: Ack) -> bool:
        """Drop acknowledged reports; return whether `ack` is for this process and no refusal."""
        if ack.incarnation != self.incarnation:
            return False
        now = clock.monotonic()
        if ack.refused:
            self.refuse(ack.refused)
            return False
        self.refused = ""
        self.outbox.acknowledge(ack.sequence)
        self._offset.add_exchange(ack.sent, ack.received, ack.time, now)
        return True

    def refuse(self, why: str) -> None:
        """Log once why the node cannot work with this master."""
        if self.refused != why:
            self.refused = why
            log.error("%s", why)

    def follow_handshakes(self) -> None:
        """Log why handshakes fail, and when one succeeds again; never returns."""
        for reported, why in self._handshakes.problems():
            if why:
                self.refuse(why)
            elif self.refused == reported:
                log.info("connected to the master")
                self.refused = ""

    def clock(self) -> Clock:
        """Return the offsets of this machine's clocks to the master's."""
        offset, bound = self._offset.at(clock.monotonic())
        return Clock(offset, offset - clock.wall_minus_monotonic(), bound)

    def second(self) -> int:
        """Return the current second of the master's time."""
        now = clock.monotonic()
        return int(now + self._offset.at(now)[0])
