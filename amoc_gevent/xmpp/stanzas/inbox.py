"""A bounded queue of received stanzas that nobody has asked for yet."""

from collections import deque
from dataclasses import dataclass
from typing import Literal

from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp.recording import count
from amoc_gevent.xmpp.stanzas.stanza import Stanza
from amoc_gevent.xmpp.stanzas.waits import Match

Overflow = Literal["drop-oldest", "drop-newest", "disconnect"]
OVERFLOWS = ("drop-oldest", "drop-newest", "disconnect")
DROPPED = "xmpp stanzas dropped"


@dataclass(frozen=True, slots=True)
class Inbox:
    """How many unclaimed stanzas to keep, and what to do when there are more.

    Dropped stanzas are counted as "xmpp stanzas dropped". "disconnect" ends the connection instead.
    A `size` of 0 discards all unclaimed stanzas.
    """

    size: int = 100
    overflow: Overflow = "drop-oldest"

    def __post_init__(self) -> None:
        if self.size < 0:
            raise UsageError(f"Inbox(size={self.size}): 0 or more stanzas")
        if self.overflow not in OVERFLOWS:
            raise UsageError(f"overflow={self.overflow!r}: choose one of {', '.join(OVERFLOWS)}")


class InboxQueue:
    """The `stanzas` in one client's inbox, in order of arrival."""

    __slots__ = ("_settings", "stanzas")

    def __init__(self, settings: Inbox) -> None:
        self._settings = settings
        self.stanzas: deque[Stanza] | None = None  # most clients never need one

    def put(self, stanza: Stanza) -> bool:
        """Keep a stanza. Return False if the connection must end instead."""
        if not self._settings.size:
            return True
        if self.stanzas is None:
            self.stanzas = deque()
        if len(self.stanzas) >= self._settings.size:
            if self._settings.overflow == "disconnect":
                return False
            count(DROPPED)
            if self._settings.overflow == "drop-newest":
                return True
            self.stanzas.popleft()
        self.stanzas.append(stanza)
        return True

    def take(self, match: Match) -> Stanza | None:
        """Remove and return the first stanza that matches."""
        stanzas = self.stanzas
        if stanzas is not None:
            for stanza in stanzas:
                if match(stanza):
                    stanzas.remove(stanza)
                    return stanza
        return None
