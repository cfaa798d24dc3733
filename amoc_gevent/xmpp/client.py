"""A user's XMPP client: calls block its greenlet; the hub receives stanzas in the background."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree.ElementTree import Element, tostring

import gevent

from amoc_gevent import clock
from amoc_gevent.user import STANZA_WAIT, check_load
from amoc_gevent.xmpp.errors import Disconnected, XmppTimeout
from amoc_gevent.xmpp.recording import Step
from amoc_gevent.xmpp.stanzas.dispatcher import Handler
from amoc_gevent.xmpp.stanzas.matching import Matching, compiled
from amoc_gevent.xmpp.stanzas.stanza import Stanza, error_of, escaped, serialised
from amoc_gevent.xmpp.stanzas.waits import Match
from amoc_gevent.xmpp.stream.session import StreamSession


class Client(StreamSession):
    """One user's session with a server.

    `jid` is "name@domain", optionally with "/resource", or only a domain for an anonymous user.
    `sasl` names the mechanism to use instead of the strongest offered. `inbox` limits how many
    unclaimed stanzas are kept. With `acknowledge`, stanzas are acknowledged and the stream can be
    resumed (XEP-0198). All errors are subclasses of XmppError.

    >>> with xmpp.Client("user_1@localhost", "password_1", xmpp.Server("127.0.0.1")) as client:
    ...     client.send_message("user_2@localhost", "hello")
    ...     print(client.wait_for("message", timeout=5).body)
    """

    def send(self, item: Any) -> None:
        """Send a stanza: str, bytes, an Element, or a slixmpp stanza.

        Return as soon as the stanza is handed over. Raises Disconnected if the stanza was not
        taken, XmppTimeout if the send buffer is full and the server reads nothing.
        """
        check_load()
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
        """Send a message. `extra` is XML to add beside the body."""
        check_load()
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
        """Send presence. `extra` is XML to add to it."""
        check_load()
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
        """Send a message whose delivery is tracked; return its sequence number.

        `to` is a user or a room. The receiving client records the operation "xmpp message
        delivery", and which messages of this user are lost, duplicated or out of order.
        """
        check_load()
        if self._tracker is None:
            raise Disconnected("not connected")
        outgoing = self._tracker.to(to, room=type == "groupchat")
        id, child = outgoing.next()  # noqa: A001
        self._send(
            f"<message to='{escaped(to)}' type='{type}' id='{id}'>"
            f"<body>{escaped(body)}</body>{child}{extra}</message>".encode(),
            outgoing,
        )
        return outgoing.number

    def settle(self, seconds: float) -> None:
        """Wait for tracked messages in transit. Call it at the end of a session.

        Return when no tracked message has arrived for `seconds`, or after ten times `seconds`.
        If a message that this user sent before has not arrived by the end of the run, it counts as
        lost, not as on the way.
        """
        tracker = self._tracker
        if tracker is None:
            gevent.sleep(seconds)
            return
        now = clock.monotonic()
        tracker.heard_at, last = now, now + 10 * seconds
        while (left := min(tracker.heard_at + seconds, last) - now) > 0:
            gevent.sleep(left)
            now = clock.monotonic()
        tracker.settle()

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

        `payload` is the content of the iq: str, bytes or an Element. `timeout` (seconds) defaults
        to the server's. The operation is `name`, by default "iq TYPE NAMESPACE". Raises XmppError
        with condition, type and text; XmppTimeout; Disconnected.
        """
        text = tostring(payload, "unicode") if isinstance(payload, Element) else payload
        if isinstance(text, bytes):
            text = text.decode()
        with Step(name or f"iq {type} {_namespace(text)}") as step:
            return self._ask(step, type, text, to, timeout)

    def new_id(self) -> str:
        """Return an id that this client has not used yet."""
        self._ids = number = self._ids + 1
        return f"{self._prefix}{number}"

    def exchange(
        self, item: Any, match: Matching, *, name: str, timeout: float | None = None
    ) -> Stanza:
        """Send a stanza and return the next one that matches. Handlers do not get the answer.

        Use it for requests whose answer is not an iq, such as the presence that joins a room. The
        operation `name` lasts from sending to arrival. Raises XmppError if the matching stanza has
        type "error"; XmppTimeout; Disconnected.
        """
        with Step(name) as step:
            return self.exchange_in(step, item, compiled(match), timeout)

    def exchange_in(
        self, step: Step, item: Any, test: Match, timeout: float | None = None
    ) -> Stanza:
        """Do the same as `exchange`, within the operation `step`."""
        seconds = self.server.timeout if timeout is None else timeout
        wait = self._take_wait()
        wait.begin()
        over = False

        def intercept(stanza: Stanza) -> bool:
            nonlocal over
            if over or not test(stanza):
                return False
            over = True
            wait.finish(stanza)
            return True

        dispatcher = self._dispatcher
        dispatcher.interceptors.append(intercept)
        dispatcher.waits.append(wait)  # so that the end of the connection ends it
        try:
            sent = self._send(serialised(item))
            answer: Stanza | None = wait.until(seconds)
        finally:
            dispatcher.interceptors.remove(intercept)
            dispatcher.waits.remove(wait)
            self._spare_wait = wait
        if answer is None:
            raise XmppTimeout(f"answer to {step.name}", seconds)
        step.took(int((answer.received_at - sent) * 1e6))
        if answer.type == "error":
            raise error_of(answer)
        return answer

    @contextmanager
    def collecting(self, match: Matching) -> Iterator[list[Stanza]]:
        """Collect matching stanzas in a list while the block runs.

        Handlers and the inbox do not get them. Use it for requests with several stanzas as their
        answer, such as a page of an archive.
        """
        test = compiled(match)
        found: list[Stanza] = []

        def intercept(stanza: Stanza) -> bool:
            if not test(stanza):
                return False
            found.append(stanza)
            return True

        self._dispatcher.interceptors.append(intercept)
        try:
            yield found
        finally:
            self._dispatcher.interceptors.remove(intercept)

    def watch(self, watcher: Handler) -> None:
        """Call `watcher(stanza)` on the hub for each stanza of this session. It must not block.

        It sees iq requests, messages and presence before they are dispatched.
        """
        self._dispatcher.watchers = [*self._dispatcher.watchers, watcher]

    def unwatch(self, watcher: Handler) -> None:
        """Stop calling `watcher`."""
        self._dispatcher.watchers = [
            other for other in self._dispatcher.watchers if other != watcher
        ]

    def ping(self, to: str | None = None, timeout: float | None = None) -> None:
        """Ping the server, or `to` (XEP-0199)."""
        self.iq("<ping xmlns='urn:xmpp:ping'/>", to=to, timeout=timeout, name="xmpp ping")

    def wait_for(self, match: Matching, timeout: float | None = None) -> Stanza:
        """Return the next stanza that matches, from the inbox or when it arrives.

        `match` is "message", "presence" or "iq", the "{namespace}name" of a child, or a predicate
        on the stanza. `timeout` (seconds) defaults to the server's. Raises XmppTimeout,
        Disconnected.
        """
        test = compiled(match)
        dispatcher = self._dispatcher
        if dispatcher.inbox.stanzas:
            found = dispatcher.inbox.take(test)
            if found is not None:
                return found
        if self._connection is None:
            self._require_connection()
        seconds = self.server.timeout if timeout is None else timeout
        wait = self._take_wait()
        wait.begin(test)
        dispatcher.waits.append(wait)
        try:
            with STANZA_WAIT:
                stanza: Stanza | None = wait.until(seconds)
        finally:
            dispatcher.waits.remove(wait)
            self._spare_wait = wait
        if stanza is None:
            raise XmppTimeout(match if isinstance(match, str) else "matching stanza", seconds)
        return stanza

    def on(self, match: Matching, handler: Handler) -> None:
        """Call `handler(stanza)` in a greenlet of the user for each stanza that matches.

        Handlers take precedence over `wait_for`. They run one after the other, in the order of the
        stanzas. An exception in a handler counts as the user's own.
        """
        self._dispatcher.on(compiled(match), handler)

    def stanza(self, element: Element) -> Any:
        """Return the slixmpp object for a stanza, with slixmpp's interfaces to its content."""
        from amoc_gevent.xmpp.stanzas.objects import stanza_object  # noqa: PLC0415  # slow to import

        return stanza_object(element)


def _namespace(payload: str) -> str:
    """Return the namespace of an iq's payload."""
    _, _, rest = payload.partition("xmlns=")
    return rest[1:].partition(rest[:1])[0] if rest else "empty"
