"""The delivery ledger of this process: who wrote how often to whom, and what of it arrived.

A tracked message carries its sender, its number and when it was sent in a child element (in one
attribute of it: each that the receiver parses costs as much as a line of text). What this process
knows goes into the second's snapshot, pair by pair; the master brings senders and receivers
of all workers together.
"""

import secrets
from typing import Final
from xml.etree.ElementTree import Element

from amoc_gevent import clock, metrics
from amoc_gevent.core.measure.deliveries import Flow, key_of
from amoc_gevent.xmpp.names import CARBONS, DELAY, MAM
from amoc_gevent.xmpp.recording import arrived, count
from amoc_gevent.xmpp.stanzas.stanza import Stanza, escaped

NAMESPACE = "urn:amoc:tracking:0"
DELIVERY = "xmpp message delivery"
COPIES = "xmpp tracked copies"

GAP_MAX = 1_000_000
"""Messages that may be missing of a pair; a number beyond that is nobody's."""

_TAG = f"{{{NAMESPACE}}}tracked"
_DELAY_TAG = f"{{{DELAY}}}delay"
_SENT = "sent"
"""The attribute: sender, epoch, number and time (ns of the master's clock), with spaces between."""

_COPY_TAGS = frozenset({f"{{{CARBONS}}}received", f"{{{CARBONS}}}sent", f"{{{MAM}}}result"})

EPOCH: Final = secrets.token_hex(4)
"""Tells the messages of this process from those of one that it replaced, or of another run."""


def bare(jid: str) -> str:
    """Return a JID without its resource."""
    return jid.partition("/")[0]


class _Counted:
    """What is counted of a pair, in the snapshot of the second that it is."""

    __slots__ = ("_found", "_key", "_takes")

    def __init__(self, key: str) -> None:
        self._key = key
        self._takes = -1
        self._found: Flow

    def flow(self) -> Flow:
        """Return where to count now."""
        recorder = metrics.recorder
        if self._takes != recorder.takes:
            self._takes = recorder.takes
            flows = recorder.snapshot.flows
            found = flows.get(self._key)
            if found is None:
                found = flows[self._key] = Flow()
            self._found = found
        return self._found


class Outgoing(_Counted):
    """What one user wrote to another, or to a room: `number` is that of the last message.

    How many a room hands on only its occupants know, so there they do the counting.
    """

    __slots__ = ("_child", "_room", "number")

    def __init__(self, sender: str, to: str, *, room: bool = False) -> None:
        super().__init__(key_of(sender, to, EPOCH))
        self._room = room
        self.number = 0
        self._child = f"<tracked xmlns='{NAMESPACE}' {_SENT}='{escaped(sender)} {EPOCH} "

    def next(self) -> tuple[str, str]:
        """Return the id and the child element of the next message, which is sent now.

        By the id it is known should it come back; not all servers send back the rest.
        """
        number = self.number + 1
        return f"{EPOCH}.{number}", f"{self._child}{number} {clock.cluster_ns()}'/>"

    def sent(self) -> None:
        """Count one message more."""
        self.number += 1
        if not self._room:
            self.flow().sent += 1

    def settle(self) -> None:
        """Note that all was waited for: what has not arrived is lost."""
        if not self._room:
            flow = self.flow()
            flow.settled = max(flow.settled, self.number)

    def bounced(self) -> None:
        """Count a message that came back."""
        if not self._room:
            self.flow().bounced += 1


class Incoming(_Counted):
    """What one user has of another's messages, by number.

    In a room they are counted from the first that came: with `before` it, so many had been sent.
    """

    __slots__ = ("_before", "_highest", "_missing", "_room")

    def __init__(self, key: str, before: int, *, room: bool) -> None:
        super().__init__(key)
        self._before = before
        self._room = room
        self._highest = 0
        self._missing: set[int] | None = None

    def arrived(self, number: int, *, delayed: bool) -> bool:
        """Count a message; whether it came for the first time."""
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
"""Whose messages: sender and epoch with a space between, and the room where they came by one."""


class Ledger:
    """What a worker's users sent and received; it outlives their connections and rounds."""

    def __init__(self) -> None:
        self._outgoing: dict[str, dict[str, Outgoing]] = {}
        self._incoming: dict[str, dict[Source, Incoming]] = {}

    def outgoing(self, sender: str) -> dict[str, Outgoing]:
        """Return what `sender` (a bare JID) wrote, by recipient."""
        return self._outgoing.setdefault(sender, {})

    def incoming(self, receiver: str) -> dict[Source, Incoming]:
        """Return what `receiver` (a bare JID) has."""
        return self._incoming.setdefault(receiver, {})


ledger = Ledger()
"""The ledger of this process."""


class Books:
    """One user's part of the ledger, which its client keeps; `user` is its bare JID.

    `heard_at` is when the last tracked message came in, in monotonic seconds.
    """

    __slots__ = ("_incoming", "_outgoing", "heard_at", "user")

    def __init__(self, user: str) -> None:
        self.user = user
        self.heard_at = 0.0
        self._outgoing = ledger.outgoing(user)
        self._incoming = ledger.incoming(user)

    def to(self, recipient: str, *, room: bool) -> Outgoing:
        """Return what the user wrote to `recipient`, whose resource does not matter."""
        found = self._outgoing.get(recipient)
        if found is None:
            name = bare(recipient)
            found = self._outgoing.get(name) or Outgoing(self.user, name, room=room)
            self._outgoing[recipient] = self._outgoing[name] = found
        return found

    def settle(self) -> None:
        """Note that all that the user has sent was waited for."""
        for outgoing in self._outgoing.values():
            outgoing.settle()

    def read(self, message: Stanza) -> None:
        """Look for tracking in a message that came in, and count it."""
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
            return  # nobody of ours wrote that
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
