"""A user's XMPP client: blocking calls in its greenlet, stanzas that arrive by themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree.ElementTree import Element, tostring

import gevent

from amoc_gevent import clock
from amoc_gevent.xmpp.errors import Disconnected, XmppTimeout
from amoc_gevent.xmpp.recording import Step
from amoc_gevent.xmpp.stanzas.dispatcher import Handler
from amoc_gevent.xmpp.stanzas.matching import Matching, compiled
from amoc_gevent.xmpp.stanzas.stanza import Stanza, error_of, escaped, serialised
from amoc_gevent.xmpp.stanzas.waits import Match
from amoc_gevent.xmpp.stream.session import StreamSession


class Client(StreamSession):
    """One user's session with a server.

    `jid` is "name@domain", with "/resource" where one is wished for, or a domain alone for an
    anonymous user. `sasl` names the mechanism to take instead of the strongest offered. `inbox`
    says how many stanzas are kept that nobody has asked for yet. With `acknowledge`, stanzas are
    acknowledged and the stream can be resumed (XEP-0198). Errors are of the XmppError family.

    >>> with xmpp.Client("user_1@localhost", "password_1", xmpp.Server("127.0.0.1")) as client:
    ...     client.send_message("user_2@localhost", "hello")
    ...     print(client.wait_for("message", timeout=5).body)
    """

    def send(self, item: Any) -> None:
        """Send a stanza: str, bytes, an Element, or one of slixmpp's stanzas.

        It returns as soon as the stanza is handed over. Raises Disconnected, and then the stanza
        was not taken; XmppTimeout when a lot is to be sent and the server takes nothing.
        """
        self._send(serialised(item))

    def send_message(
        self,
        to: str,
        body: str,
        *,
        type: str = "chat",  # noqa: A002  # what XMPP calls it
        id: str | None = None,  # noqa: A002
        extra: str = "",
    ) -> None:
        """Send a message; `extra` is XML that goes beside the body."""
        name = self.new_id() if id is None else escaped(id)
        self._send(
            f"<message to='{escaped(to)}' type='{type}' id='{name}'>"
            f"<body>{escaped(body)}</body>{extra}</message>".encode()
        )

    def send_presence(
        self,
        to: str | None = None,
        *,
        type: str | None = None,  # noqa: A002
        show: str | None = None,
        status: str | None = None,
        extra: str = "",
    ) -> None:
        """Send presence; `extra` is XML that goes into it."""
        text = "<presence"
        text += "" if to is None else f" to='{escaped(to)}'"
        text += ">" if type is None else f" type='{type}'>"
        text += "" if show is None else f"<show>{show}</show>"
        text += "" if status is None else f"<status>{escaped(status)}</status>"
        self._send(f"{text}{extra}</presence>".encode())

    def send_tracked(
        self,
        to: str,
        body: str,
        *,
        type: str = "chat",  # noqa: A002
        extra: str = "",
    ) -> int:
        """Send a message that the ledger follows to its receiver; return its number.

        The receiving client records the operation "xmpp message delivery" when it comes, and what
        is lost, doubled or out of order between this user and `to`, a user or a room.
        """
        if self._books is None:
            raise Disconnected("not connected")
        outgoing = self._books.to(to, room=type == "groupchat")
        id, child = outgoing.next()  # noqa: A001
        self._send(
            f"<message to='{escaped(to)}' type='{type}' id='{id}'>"
            f"<body>{escaped(body)}</body>{child}{extra}</message>".encode(),
            outgoing,
        )
        return outgoing.number

    def settle(self, seconds: float) -> None:
        """Listen for what is on the way, as the last thing in a session with tracking.

        It returns when no tracked message has come for so many seconds, or after ten times as many.
        What this user sent before and nobody has received by the end of the run is lost then, not
        on the way any longer.
        """
        books = self._books
        if books is None:
            gevent.sleep(seconds)
            return
        now = clock.monotonic()
        books.heard_at, last = now, now + 10 * seconds
        while (left := min(books.heard_at + seconds, last) - now) > 0:
            gevent.sleep(left)
            now = clock.monotonic()
        books.settle()

    def iq(
        self,
        payload: Any = "",
        *,
        to: str | None = None,
        type: str = "get",  # noqa: A002
        timeout: float | None = None,
        name: str | None = None,
    ) -> Stanza:
        """Send a request and return its result.

        `payload` is what goes into the iq: str, bytes or an Element. `timeout` (seconds) is the
        server's by default. It is an operation, named "iq TYPE NAMESPACE" unless `name` says
        otherwise. Raises XmppError with condition, type and text; XmppTimeout; Disconnected.
        """
        text = tostring(payload, "unicode") if isinstance(payload, Element) else payload
        if isinstance(text, bytes):
            text = text.decode()
        with Step(name or f"iq {type} {_namespace(text)}") as step:
            return self._ask(step, type, text, to, timeout)

    def new_id(self) -> str:
        """Return an id that no stanza of this client has."""
        self._ids = number = self._ids + 1
        return f"{self._prefix}{number}"

    def exchange(
        self, item: Any, match: Matching, *, name: str, timeout: float | None = None
    ) -> Stanza:
        """Send a stanza and return the first that matches from then on; no handler gets that one.

        For requests whose answer is no iq, such as the presence that joins a room. It is the
        operation `name`, from sending to arrival. Raises XmppError where what matches is of type
        "error"; XmppTimeout; Disconnected.
        """
        with Step(name) as step:
            return self.exchanged(step, item, compiled(match), timeout)

    def exchanged(self, step: Step, item: Any, test: Match, timeout: float | None = None) -> Stanza:
        """Do so as a part of an operation, `step`."""
        seconds = self.server.timeout if timeout is None else timeout
        wait = self._borrow()
        wait.begin()
        over = False

        def taken(stanza: Stanza) -> bool:
            nonlocal over
            if over or not test(stanza):
                return False
            over = True
            wait.finish(stanza)
            return True

        desk = self._desk
        desk.takers.append(taken)
        desk.waits.append(wait)  # which hears of the connection's end
        try:
            sent = self._send(serialised(item))
            answer: Stanza | None = wait.until(seconds)
        finally:
            desk.takers.remove(taken)
            desk.waits.remove(wait)
            self._wait = wait
        if answer is None:
            raise XmppTimeout(f"answer to {step.name}", seconds)
        step.took(int((answer.received_at - sent) * 1e6))
        if answer.type == "error":
            raise error_of(answer)
        return answer

    @contextmanager
    def collecting(self, match: Matching) -> Iterator[list[Stanza]]:
        """Collect what matches in a list while the block runs; no handler and no inbox gets it.

        For requests whose answer is several stanzas, such as a page of an archive.
        """
        test = compiled(match)
        found: list[Stanza] = []

        def taken(stanza: Stanza) -> bool:
            if not test(stanza):
                return False
            found.append(stanza)
            return True

        self._desk.takers.append(taken)
        try:
            yield found
        finally:
            self._desk.takers.remove(taken)

    def watch(self, watcher: Handler) -> None:
        """Call `watcher(stanza)` on the hub with all that comes in this session; it may not block.

        It sees iq requests, messages and presence, before whoever gets them.
        """
        self._desk.watchers = [*self._desk.watchers, watcher]

    def unwatch(self, watcher: Handler) -> None:
        """Do so no longer."""
        self._desk.watchers = [other for other in self._desk.watchers if other != watcher]

    def ping(self, to: str | None = None, timeout: float | None = None) -> None:
        """Ask the server, or `to`, for a sign of life (XEP-0199)."""
        self.iq("<ping xmlns='urn:xmpp:ping'/>", to=to, timeout=timeout, name="xmpp ping")

    def wait_for(self, match: Matching, timeout: float | None = None) -> Stanza:
        """Return the next stanza that matches, from the inbox or as it comes.

        `match` is "message", "presence" or "iq", the "{namespace}name" of a child, or a function of
        the stanza that says so. `timeout` (seconds) is the server's by default. Raises XmppTimeout,
        Disconnected.
        """
        test = compiled(match)
        desk = self._desk
        if desk.inbox.stanzas:
            found = desk.inbox.take(test)
            if found is not None:
                return found
        if self._connection is None:
            self._live()
        seconds = self.server.timeout if timeout is None else timeout
        wait = self._borrow()
        wait.begin(test)
        desk.waits.append(wait)
        try:
            stanza: Stanza | None = wait.until(seconds)
        finally:
            desk.waits.remove(wait)
            self._wait = wait
        if stanza is None:
            raise XmppTimeout(match if isinstance(match, str) else "matching stanza", seconds)
        return stanza

    def on(self, match: Matching, handler: Handler) -> None:
        """Have `handler(stanza)` called, in a greenlet of the user, with each stanza that matches.

        Handlers come before `wait_for`; they run one after the other, in the order of the stanzas,
        and an exception in one is the user's.
        """
        self._desk.on(compiled(match), handler)

    def stanza(self, element: Element) -> Any:
        """Return slixmpp's object for a stanza, with its interfaces for what that contains."""
        from amoc_gevent.xmpp.stanzas.objects import stanza_object  # noqa: PLC0415  # slow to import

        return stanza_object(element)


def _namespace(payload: str) -> str:
    """Return the namespace of an iq's payload."""
    _, _, rest = payload.partition("xmlns=")
    return rest[1:].partition(rest[:1])[0] if rest else "empty"
