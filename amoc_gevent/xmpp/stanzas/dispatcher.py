"""Who gets a stanza that came in: whoever asked, collects, handles or waits; else the inbox."""

from collections import deque
from collections.abc import Callable

from amoc_gevent import user
from amoc_gevent.xmpp.stanzas.inbox import Inbox, Queue
from amoc_gevent.xmpp.stanzas.stanza import Stanza
from amoc_gevent.xmpp.stanzas.waits import Match, Wait

Handler = Callable[[Stanza], object]


class Desk:
    """Hands a client's stanzas out, on the hub.

    `watchers` see all, and take nothing. `takers` are asked first, while a request goes on whose
    answer is more than an iq's result.
    Handlers may block: they run in a greenlet of the user, one stanza after the other.
    """

    __slots__ = ("_handlers", "_todo", "inbox", "pending", "takers", "waits", "watchers")

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = Queue(inbox)
        self.pending: dict[str, Wait] = {}
        self.watchers: list[Handler] = []
        self.takers: list[Match] = []
        self.waits: list[Wait] = []
        self._handlers: list[tuple[Match, Handler]] = []
        self._todo: _Handling | None = None

    def on(self, match: Match, handler: Handler) -> None:
        """Have `handler` called with each stanza that matches; the first one that does gets it."""
        if self._todo is None:
            self._todo = _Handling()
        self._handlers.append((match, handler))

    def offer(self, stanza: Stanza) -> bool:
        """Give the stanza to a taker, a handler or a wait; false when none wants it."""
        for watch in self.watchers:
            watch(stanza)
        for taken in self.takers:
            if taken(stanza):
                return True
        if self._todo is not None:
            for match, handler in self._handlers:
                if match(stanza):
                    self._todo.add(handler, stanza)
                    return True
        for wait in self.waits:
            wanted = wait.match
            if wanted is not None and wanted(stanza):
                wait.match = None
                wait.finish(stanza)
                return True
        return False

    def fail(self, error: BaseException) -> None:
        """Let all who wait hear of the end of the connection."""
        for wait in [*self.waits, *self.pending.values()]:
            wait.finish(error)


class _Handling:
    """Calls handlers in a greenlet of the user that registered the first of them."""

    __slots__ = ("_spawn", "_stanzas", "_working")

    def __init__(self) -> None:
        self._spawn = user.spawner()
        self._stanzas: deque[tuple[Handler, Stanza]] = deque()
        self._working = False

    def add(self, handler: Handler, stanza: Stanza) -> None:
        self._stanzas.append((handler, stanza))
        if not self._working:
            self._working = True
            self._spawn(self._work)

    def _work(self) -> None:
        """Call handlers until there is nothing left for them; an exception is the user's own."""
        try:
            while self._stanzas:
                handler, stanza = self._stanzas.popleft()
                handler(stanza)
        finally:
            self._working = False
