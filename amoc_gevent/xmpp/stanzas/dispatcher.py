"""Dispatches received stanzas to interceptors, handlers and waiting greenlets."""

from collections import deque
from collections.abc import Callable

from amoc_gevent import user
from amoc_gevent.xmpp.stanzas.inbox import Inbox, InboxQueue
from amoc_gevent.xmpp.stanzas.stanza import Stanza
from amoc_gevent.xmpp.stanzas.waits import Match, Wait

Handler = Callable[[Stanza], object]


class StanzaDispatcher:
    """Dispatches a client's stanzas, on the hub.

    `watchers` see every stanza and consume none. Then come the `interceptors`: they take the
    answers to requests whose answer is not just an iq result. Handlers may block: they run in a
    greenlet of the user, one stanza after the other.
    """

    __slots__ = ("_handlers", "_runner", "inbox", "interceptors", "pending", "waits", "watchers")

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = InboxQueue(inbox)
        self.pending: dict[str, Wait] = {}
        self.watchers: list[Handler] = []
        self.interceptors: list[Match] = []
        self.waits: list[Wait] = []
        self._handlers: list[tuple[Match, Handler]] = []
        self._runner: _HandlerRunner | None = None

    def on(self, match: Match, handler: Handler) -> None:
        """Call `handler` with each stanza that matches. The first matching handler gets it."""
        if self._runner is None:
            self._runner = _HandlerRunner()
        self._handlers.append((match, handler))

    def offer(self, stanza: Stanza) -> bool:
        """Give the stanza to an interceptor, a handler or a wait. Return False if none wants it."""
        for watch in self.watchers:
            watch(stanza)
        for intercept in self.interceptors:
            if intercept(stanza):
                return True
        if self._runner is not None:
            for match, handler in self._handlers:
                if match(stanza):
                    self._runner.add(handler, stanza)
                    return True
        for wait in self.waits:
            wanted = wait.match
            if wanted is not None and wanted(stanza):
                wait.match = None
                wait.finish(stanza)
                return True
        return False

    def fail(self, error: BaseException) -> None:
        """Raise `error` in all waiting greenlets."""
        for wait in [*self.waits, *self.pending.values()]:
            wait.finish(error)


class _HandlerRunner:
    """Runs handlers in a greenlet of the user that registered the first of them."""

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
        """Call handlers until the queue is empty. An exception counts as the user's own."""
        try:
            while self._stanzas:
                handler, stanza = self._stanzas.popleft()
                handler(stanza)
        finally:
            self._working = False
