"""What came in and nobody has asked for yet: a bounded queue."""

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
    """How many stanzas wait to be asked for, and what happens to what is beyond.

    What is dropped is counted as "xmpp stanzas dropped"; "disconnect" ends the connection instead.
    A `size` of 0 is for users who want to hear of nothing that they did not ask for.
    """

    size: int = 100
    overflow: Overflow = "drop-oldest"

    def __post_init__(self) -> None:
        if self.size < 0:
            raise UsageError(f"Inbox(size={self.size}): 0 or more stanzas")
        if self.overflow not in OVERFLOWS:
            raise UsageError(f"overflow={self.overflow!r}: choose one of {', '.join(OVERFLOWS)}")


class Queue:
    """The `stanzas` in one client's inbox, in the order in which they came."""

    __slots__ = ("_rule", "stanzas")

    def __init__(self, rule: Inbox) -> None:
        self._rule = rule
        self.stanzas: deque[Stanza] | None = None  # most clients never need one

    def put(self, stanza: Stanza) -> bool:
        """Keep a stanza; false when the rule is to disconnect instead."""
        if not self._rule.size:
            return True
        if self.stanzas is None:
            self.stanzas = deque()
        if len(self.stanzas) >= self._rule.size:
            if self._rule.overflow == "disconnect":
                return False
            count(DROPPED)
            if self._rule.overflow == "drop-newest":
                return True
            self.stanzas.popleft()
        self.stanzas.append(stanza)
        return True

    def take(self, match: Match) -> Stanza | None:
        """Return the first stanza that matches, and forget it."""
        stanzas = self.stanzas
        if stanzas is not None:
            for stanza in stanzas:
                if match(stanza):
                    stanzas.remove(stanza)
                    return stanza
        return None
