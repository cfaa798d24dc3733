"""Message tracking: how many messages each user sent to each other user, and which arrived.

A tracked message carries its sender, sequence number and send time in a child element. They share
one attribute, because each attribute costs the receiver as much as a line of text to parse. The
counts of each pair go into the snapshot of the current second. The master combines the senders and
receivers of all workers.
"""

import secrets
from typing import Final
from xml.etree.ElementTree import Element

from amoc_gevent import clock, metrics
from amoc_gevent.core.measure.deliveries import Flow, key_of
from amoc_gevent.xmpp.names import CARBONS, DELAY, MAM
from amoc_gevent.xmpp.recording import GAP_MAX, arrived, count
from amoc_gevent.xmpp.stanzas.stanza import Stanza, escaped

NAMESPACE = "urn:amoc:tracking:0"
DELIVERY = "xmpp message delivery"
COPIES = "xmpp tracked copies"


_TAG = f"{{{NAMESPACE}}}tracked"
_DELAY_TAG = f"{{{DELAY}}}delay"
_SENT = "sent"
"""The attribute: sender, epoch, number and time (ns of the master's clock), space-separated."""

_COPY_TAGS = frozenset({f"{{{CARBONS}}}received", f"{{{CARBONS}}}sent", f"{{{MAM}}}result"})

EPOCH: Final = secrets.token_hex(4)
"""Distinguishes the messages of this process from those of its predecessor or of another run."""


def bare(jid: str) -> str:
    """Return a JID without its resource."""
    return jid.partition("/")[0]


class _PairCounter:
    """The counts of one pair, in the snapshot of the current second."""

    __slots__ = ("_found", "_key", "_takes")

    def __init__(self, key: str) -> None:
        self._key = key
        self._takes = -1
        self._found: Flow

    def flow(self) -> Flow:
        """Return the counts in the current snapshot."""
        recorder = metrics.recorder
        if self._takes != recorder.takes:
            self._takes = recorder.takes
            flows = recorder.snapshot.flows
            found = flows.get(self._key)
            if found is None:
                found = flows[self._key] = Flow()
            self._found = found
        return self._found


class Outgoing(_PairCounter):
    """Messages from one user to another user or a room. `number` is the last sequence number.

    Only the occupants of a room know how many messages it forwards, so they count them.
    """

    __slots__ = ("_child", "_room", "number")

    def __init__(self, sender: str, to: str, *, room: bool = False) -> None:
        super().__init__(key_of(sender, to, EPOCH))
        self._room = room
        self.number = 0
        self._child = f"<tracked xmlns='{NAMESPACE}' {_SENT}='{escaped(sender)} {EPOCH} "

    def next(self) -> tuple[str, str]:
        """Return the id and the child element of the next message, with the current time.

        The id identifies a bounced message, because not all servers return the child element.
        """
        number = self.number + 1
        return f"{EPOCH}.{number}", f"{self._child}{number} {clock.cluster_ns()}'/>"

    def sent(self) -> None:
        """Count a sent message."""
        self.number += 1
        if not self._room:
            self.flow().sent += 1

    def settle(self) -> None:
        """Record that the sender waited for its messages. Those that have not arrived are lost."""
        if not self._room:
            flow = self.flow()
            flow.settled = max(flow.settled, self.number)

    def bounced(self) -> None:
        """Count a message that was returned as an error."""
        if not self._room:
            self.flow().bounced += 1


class Incoming(_PairCounter):
    """The messages that one user received from another, by number.

    In a room, counting starts at the first message received. `before`: the number of messages
    sent earlier.
    """

    __slots__ = ("_before", "_highest", "_missing", "_room")

    def __init__(self, key: str, before: int, *, room: bool) -> None:
        super().__init__(key)
        self._before = before
        self._room = room
        self._highest = 0
        self._missing: set[int] | None = None

    def arrived(self, number: int, *, delayed: bool) -> bool:
        """Count a message. Return whether it is new."""
        number -= self._before
        highest = self._highest
        flow = self.flow()
        if number == highest + 1:
            self._highest = number
        elif number > highest:
            if number - highest > GAP_MAX:
                return False
            if self._missing is None:
                self._missing = set()
            self._missing.update(range(highest + 1, number))
            self._highest = number
        elif self._missing and number in self._missing:
            self._missing.discard(number)
            flow.reordered += 1
        else:
            flow.duplicated += 1
            return False
        flow.highest = self._highest
        flow.delivered += 1
        if self._room:
            flow.sent += self._highest - highest
        if delayed:
            flow.delayed += 1
        return True


Source = str | tuple[str, str]
"""A message source: "sender epoch", with the room if the messages came through one."""


class DeliveryRegistry:
    """What the users of a worker sent and received. It outlives connections and iterations."""

    def __init__(self) -> None:
        self._outgoing: dict[str, dict[str, Outgoing]] = {}
        self._incoming: dict[str, dict[Source, Incoming]] = {}

    def outgoing(self, sender: str) -> dict[str, Outgoing]:
        """Return the outgoing messages of `sender` (a bare JID) by recipient."""
        return self._outgoing.setdefault(sender, {})

    def incoming(self, receiver: str) -> dict[Source, Incoming]:
        """Return the incoming messages of `receiver` (a bare JID) by source."""
        return self._incoming.setdefault(receiver, {})


registry = DeliveryRegistry()
"""The registry of this process."""


class DeliveryTracker:
    """Tracks the messages of one user. `user` is the bare JID.

    `heard_at` is the arrival time of the last tracked message, in monotonic seconds.
    """

    __slots__ = ("_incoming", "_outgoing", "heard_at", "user")

    def __init__(self, user: str) -> None:
        self.user = user
        self.heard_at = 0.0
        self._outgoing = registry.outgoing(user)
        self._incoming = registry.incoming(user)

    def to(self, recipient: str, *, room: bool) -> Outgoing:
        """Return the messages from the user to `recipient`, whatever its resource."""
        found = self._outgoing.get(recipient)
        if found is None:
            name = bare(recipient)
            found = self._outgoing.get(name) or Outgoing(self.user, name, room=room)
            self._outgoing[recipient] = self._outgoing[name] = found
        return found

    def settle(self) -> None:
        """Record that the user has waited for everything it sent."""
        for outgoing in self._outgoing.values():
            outgoing.settle()

    def read(self, message: Stanza) -> None:
        """Count a received message if it is tracked."""
        tracked = None
        delayed = False
        for element in message:
            tag = element.tag
            if tag == _TAG:
                tracked = element
            elif tag == _DELAY_TAG:
                delayed = True
            elif tag in _COPY_TAGS and next(element.iter(_TAG), None) is not None:
                count(COPIES)
        kind = message.get("type")
        if kind == "error":
            self._bounced(message)
        elif tracked is not None:
            room = bare(message.get("from", "")) if kind == "groupchat" else ""
            self._arrived(message, tracked, room, delayed)

    def _arrived(
        self,
        message: Stanza,
        tracked: Element,
        room: str,
        delayed: bool,
    ) -> None:
        self.heard_at = message.received_at
        try:
            source, counted, sent = tracked.get(_SENT, "").rsplit(" ", 2)
            number, at = int(counted), int(sent)
        except ValueError:
            return  # not written by this module
        if number < 1:
            return
        if room and delayed:
            count(COPIES)  # the room's history
            return
        key = (source, room) if room else source
        incoming = self._incoming.get(key)
        if incoming is None:
            sender, _, epoch = source.partition(" ")
            if not sender or not epoch or " " in epoch:
                return
            to = f"{room}/{self.user}" if room else self.user
            incoming = Incoming(
                key_of(sender, to, epoch), number - 1 if room else 0, room=bool(room)
            )
            self._incoming[key] = incoming
        if incoming.arrived(number, delayed=delayed) and not delayed:
            arrived(DELIVERY, at, message.received_at)

    def _bounced(self, message: Stanza) -> None:
        epoch, _, number = (message.get("id") or "").partition(".")
        if epoch == EPOCH and number.isdecimal():
            found = self._outgoing.get(bare(message.get("from", "")))
            if found is not None:
                found.bounced()
