"""Stanzas from one user to many: numbered and timed, so that each receiver knows its losses.

Use it for presence, PubSub events and the like. Messages to a user or a room have `send_tracked`.

>>> source = xmpp.fanout.Source()
>>> receiver = xmpp.fanout.Receiver("presence delivery", "presences lost")
>>> client.on("presence", receiver.record)
>>> client.send_presence(extra=source.next())
"""

import secrets
from xml.etree.ElementTree import Element

from amoc_gevent import clock
from amoc_gevent.xmpp.recording import GAP_MAX, arrived, count
from amoc_gevent.xmpp.stanzas.stanza import Stanza

NAMESPACE = "urn:amoc:fanout:0"

_TAG = f"{{{NAMESPACE}}}told"


class Source:
    """One user's sequence. `number` is how often `next` was called."""

    __slots__ = ("_key", "number")

    def __init__(self) -> None:
        self._key = secrets.token_hex(6)
        self.number = 0

    def next(self) -> str:
        """Return the child element for the next stanza as XML, with the current time."""
        self.number += 1
        at = clock.cluster_ns()
        return f"<told xmlns='{NAMESPACE}' by='{self._key}' n='{self.number}' at='{at}'/>"


class Receiver:
    """Records what one user receives from all sources.

    The first stanza of each source only sets the start, because it may be old: a server sends the
    current state to each newcomer. Each later one is recorded as `operation`, from sending to the
    arrival of its bytes. Gaps before it are counted as `lost`. Repeated ones are not counted.
    """

    __slots__ = ("_highest", "_lost", "_operation")

    def __init__(self, operation: str, lost: str) -> None:
        self._operation = operation
        self._lost = lost
        self._highest: dict[str, int] = {}

    def record(self, stanza: Stanza) -> bool:
        """Record the numbered elements in a stanza, at any depth. Return whether one was new."""
        found = [self._told(told, stanza.received_at) for told in stanza.iter(_TAG)]
        return any(found)

    def _told(self, told: Element, received_at: float) -> bool:
        try:
            number, at = int(told.get("n", "")), int(told.get("at", ""))
        except ValueError:
            return False  # not written by this module
        key = told.get("by", "")
        highest = self._highest.setdefault(key, number)
        if number <= highest:
            return False
        self._highest[key] = number
        if highest + 1 < number < highest + GAP_MAX:
            count(self._lost, number - highest - 1)
        arrived(self._operation, at, received_at)
        return True
