"""What one user tells many: numbered and timed, so that each who hears it knows what it missed.

Messages to one user or a room have the ledger; this is for presence, events of PubSub and the like.

>>> source, ear = xmpp.fanout.Source(), xmpp.fanout.Ear("presence delivery", "presences lost")
>>> client.on("presence", ear.hear)
>>> client.send_presence(extra=source.next())
"""

import secrets
from xml.etree.ElementTree import Element

from amoc_gevent import clock
from amoc_gevent.xmpp.recording import arrived, count
from amoc_gevent.xmpp.stanzas.stanza import Stanza

NAMESPACE = "urn:amoc:fanout:0"
GAP_MAX = 1_000_000
"""What may be missing at once; a number beyond that is nobody's."""

_TAG = f"{{{NAMESPACE}}}told"


class Source:
    """One user's series; `number` is how often `next` was called."""

    __slots__ = ("_key", "number")

    def __init__(self) -> None:
        self._key = secrets.token_hex(6)
        self.number = 0

    def next(self) -> str:
        """Return what goes into the next stanza, which is sent now: a child element as XML."""
        self.number += 1
        at = clock.cluster_ns()
        return f"<told xmlns='{NAMESPACE}' by='{self._key}' n='{self.number}' at='{at}'/>"


class Ear:
    """What one user hears of all sources.

    The first of each source is where it begins to listen, and may be an old one: a server tells
    the present state to whoever comes. Each later one is the operation `operation`, from sending to
    the arrival of its bytes; what is left out before it is counted as `lost`. One that is told
    again is not counted.
    """

    __slots__ = ("_highest", "_lost", "_operation")

    def __init__(self, operation: str, lost: str) -> None:
        self._operation = operation
        self._lost = lost
        self._highest: dict[str, int] = {}

    def hear(self, stanza: Stanza) -> bool:
        """Look for a source's news in a stanza, at any depth; whether there was a new one."""
        found = [self._told(told, stanza.received_at) for told in stanza.iter(_TAG)]
        return any(found)

    def _told(self, told: Element, received_at: float) -> bool:
        try:
            number, at = int(told.get("n", "")), int(told.get("at", ""))
        except ValueError:
            return False  # nobody of ours wrote that
        key = told.get("by", "")
        highest = self._highest.setdefault(key, number)
        if number <= highest:
            return False
        self._highest[key] = number
        if highest + 1 < number < highest + GAP_MAX:
            count(self._lost, number - highest - 1)
        arrived(self._operation, at, received_at)
        return True
