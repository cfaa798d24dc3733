"""A user's session with a server: login, dispatch of received stanzas, resumption and end."""

import secrets
from typing import Self
from xml.etree.ElementTree import Element

from gevent import GreenletExit

from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp import tracking
from amoc_gevent.xmpp.errors import Disconnected, StreamError, XmppError, XmppTimeout
from amoc_gevent.xmpp.names import IQ_TAG, MESSAGE_TAG, STANZA_TAGS, STREAM_ERROR_TAG
from amoc_gevent.xmpp.recording import RECEIVED, SENT, Step, count
from amoc_gevent.xmpp.server import Server
from amoc_gevent.xmpp.stanzas.dispatcher import StanzaDispatcher
from amoc_gevent.xmpp.stanzas.inbox import Inbox
from amoc_gevent.xmpp.stanzas.stanza import Stanza, error_of, escaped
from amoc_gevent.xmpp.stanzas.waits import Wait
from amoc_gevent.xmpp.stream import login
from amoc_gevent.xmpp.stream import management as sm
from amoc_gevent.xmpp.stream.answers import answer
from amoc_gevent.xmpp.stream.connection import StreamConnection, stream_error
from amoc_gevent.xmpp.stream.management import StreamManagement
from amoc_gevent.xmpp.tracking import DeliveryTracker

CLOSE_TIMEOUT = 5.0
"""Seconds that `close` waits for the server to close its side."""

_STARTS = (b"<message", b"<presence", b"<iq")
_INBOX = Inbox()


class StreamSession:
    """The base of Client: the session without the methods for scenarios. See Client."""

    def __init__(
        self,
        jid: str,
        password: str = "",
        server: Server | None = None,
        *,
        sasl: str | None = None,
        inbox: Inbox | None = None,
        acknowledge: bool = False,
    ) -> None:
        self.server = server or Server()
        self._credentials = login.credentials(jid, password, self.server)
        self.jid = jid
        self._resource = jid.partition("/")[2] or None
        self._sasl = sasl
        self._acknowledge = acknowledge
        self._management: StreamManagement | None = None
        self._connection: StreamConnection | None = None
        self._established = False
        self._ended: BaseException | None = None
        self._dispatcher = StanzaDispatcher(inbox or _INBOX)
        self._spare_wait: Wait | None = None
        self._element_wait: Wait | None = None
        self._tracker: DeliveryTracker | None = None
        self._ids = 0
        self._prefix = secrets.token_hex(3)

    @property
    def bare(self) -> str:
        """The JID without its resource."""
        return tracking.bare(self.jid)

    @property
    def connected(self) -> bool:
        """Whether the session is established, as far as known here. False during the login."""
        return self._established

    @property
    def resumable(self) -> bool:
        """Whether `resume` can resume the session."""
        return self._management is not None and self._management.id is not None

    @property
    def unacknowledged(self) -> int:
        """The number of stanzas sent that the server has not acknowledged."""
        return 0 if self._management is None else len(self._management.unacknowledged)

    def connect(self, *, presence: bool = True) -> Self:
        """Log in: connect, TLS, authentication, binding; then send initial presence.

        Each step is an operation ("xmpp connect", "xmpp tls", "xmpp auth", ...), limited by the
        server's `timeout`. A step that fails closes the connection and raises an XmppError.
        """
        self._management = None
        self._dispatcher.watchers = []
        steps = self._log_in()
        try:
            self.jid = login.bind(self._ask, self._resource)
            self._tracker = DeliveryTracker(self.bare)
            login.start_session(self._ask, steps.features)
            if self._acknowledge:
                self._enable(steps)
            if presence:
                self._send(b"<presence/>")
        except BaseException:
            self.kill()
            raise
        self._established = self._connection is not None
        return self

    def open_stream(self) -> Self:
        """Connect without logging in: open a stream, with TLS, to register an account."""
        self._management = None
        self._connect_stream()
        self._established = True
        return self

    def resume(self) -> int:
        """Reconnect and resume the session; return how many stanzas were resent.

        Nothing that either side sent is lost. Raises XmppError if the server has dropped the
        session: then `connect` starts a new one.
        """
        if self._management is None or not self.resumable:
            raise UsageError("no session to resume: connect with acknowledge=True first")
        management = self._management
        self.kill()
        steps = self._log_in()
        try:
            management.acknowledge(steps.resume(management))
            resent = management.to_resend()
            connection = self._require_connection()
            for stanza in resent:
                connection.push(stanza)
            connection.drain(self.server.timeout)
        except BaseException:
            self.kill()
            raise
        self._established = self._connection is not None
        return len(resent)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Close the stream and wait up to `timeout` seconds for the server to do the same."""
        connection = self._connection
        if connection is None:
            return
        self._management = None
        try:
            connection.push(b"</stream:stream>")
            wait = self._get_element_wait()
            wait.begin()
            wait.until(timeout)
        except XmppError:
            pass  # the stream is closed, as requested
        finally:
            self.kill()

    def kill(self) -> None:
        """Close the connection at once, without closing the stream. Waiting calls raise."""
        self._end(Disconnected("closed here"))

    def __enter__(self) -> Self:
        return self if self.connected else self.connect()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, GreenletExit):
            self.kill()
        else:
            self.close()

    def readable(self) -> None:
        """Process received data; called on the hub."""
        connection = self._connection
        if connection is None:
            return
        try:
            for element in connection.poll():
                self._take(element)
        except BaseException as error:  # the boundary of a connection: the user gets the error
            if connection is self._connection:
                self._end(error)
            if not isinstance(error, Exception):
                raise
        if connection.end_reason and connection is self._connection:
            self._end(Disconnected(connection.end_reason))

    def _take(self, element: Element) -> None:
        """Dispatch a received element."""
        connection = self._connection
        tag = element.tag
        if connection is None:
            return  # a handler of the previous stanza has closed it
        if tag not in STANZA_TAGS:
            self._take_non_stanza(element)
            return
        count(RECEIVED)
        if self._management is not None:
            self._management.handled += 1
        stanza = Stanza(tag, element.attrib)
        stanza.extend(element)
        stanza.received_at = connection.transport.arrived
        kind = stanza.get("type")
        if tag == IQ_TAG and kind in {"result", "error"}:
            asked = self._dispatcher.pending.get(stanza.get("id", ""))
            if asked is not None:
                asked.finish(stanza)
            return
        if tag == MESSAGE_TAG and self._tracker is not None:
            self._tracker.read(stanza)
        if self._dispatcher.offer(stanza):
            return
        if tag == IQ_TAG:
            self._push(answer(stanza, self.bare))
        elif not self._dispatcher.inbox.put(stanza):
            raise Disconnected("inbox overflow")

    def _take_non_stanza(self, element: Element) -> None:
        management = self._management
        tag = element.tag
        if tag == sm.REQUEST_TAG and management is not None:
            self._push(management.answer())
        elif tag == sm.ANSWER_TAG and management is not None:
            management.acknowledge(element.get("h"))
        else:
            if tag == sm.ENABLED_TAG:
                self._management = made = StreamManagement()
                made.id = element.get("id") if element.get("resume") in {"true", "1"} else None
            if tag == STREAM_ERROR_TAG:
                raise stream_error(element)
            if self._element_wait is not None:
                self._element_wait.finish(element)

    def _log_in(self) -> login.Login:
        """Connect and authenticate. Close the connection on failure."""
        steps = self._connect_stream()
        try:
            steps.authenticate(self._credentials, self._sasl)
        except BaseException:
            self.kill()
            raise
        return steps

    def _connect_stream(self) -> login.Login:
        """Connect and open the stream. Close the connection on failure."""
        if self._connection is not None:
            raise UsageError(f"{self.jid} is connected already")
        self._ended = None
        connection = self._connection = login.open_connection(self.server, self._credentials.domain)
        connection.follow(self)
        try:
            steps = login.Login(connection, self.server, self._get_element_wait())
            steps.open()
        except BaseException:
            self.kill()
            raise
        return steps

    def _enable(self, steps: login.Login) -> None:
        if not steps.offers(sm.FEATURE_TAG):
            raise StreamError(
                "feature-not-implemented", "the server offers no stream management (XEP-0198)"
            )
        steps.enable()

    def _get_element_wait(self) -> Wait:
        if self._element_wait is None:
            self._element_wait = Wait(self.readable)
        return self._element_wait

    def _take_wait(self) -> Wait:
        """Return an unused wait. Each waiting greenlet needs one of its own."""
        wait, self._spare_wait = self._spare_wait, None
        return wait or Wait(self.readable)

    def _require_connection(self) -> StreamConnection:
        """Return the connection. If it has ended, raise the error that ended it."""
        if self._connection is None:
            raise (self._ended or Disconnected("not connected")).with_traceback(None)
        return self._connection

    def _send(self, data: bytes, outgoing: "tracking.Outgoing | None" = None) -> float:
        """Send a stanza; return the time of sending in monotonic seconds."""
        connection = self._connection or self._require_connection()
        if self._management is not None and data.startswith(_STARTS):
            self._push_acknowledged(self._management.sent(data))
        else:
            connection.push(data)
        transport = connection.transport
        sent = transport.sent
        count(SENT)
        if outgoing is not None:
            outgoing.sent()
        if transport.unsent:
            connection.drain(self.server.timeout)
        return sent

    def _push(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.push(data)

    def _push_acknowledged(self, data: bytes) -> None:
        """Send a stanza that a resumption would resend: a failure here loses nothing."""
        try:
            self._push(data)
        except Disconnected as error:
            self._end(error)

    def _ask(
        self,
        step: Step,
        kind: str,
        payload: str,
        to: str | None = None,
        timeout: float | None = None,
    ) -> Stanza:
        """Send an iq and return its result."""
        self._ids = number = self._ids + 1
        key = f"{self._prefix}{number}"
        seconds = self.server.timeout if timeout is None else timeout
        wait = self._take_wait()
        wait.begin()
        self._dispatcher.pending[key] = wait
        addressed = "" if to is None else f" to='{escaped(to)}'"
        try:
            sent = self._send(f"<iq type='{kind}' id='{key}'{addressed}>{payload}</iq>".encode())
            result: Stanza | None = wait.until(seconds)
        finally:
            del self._dispatcher.pending[key]
            self._spare_wait = wait
        if result is None:
            raise XmppTimeout(f"answer from {to or 'the server'}", seconds)
        step.took(int((result.received_at - sent) * 1e6))
        if result.get("type") == "error":
            raise error_of(result)
        return result

    def _end(self, error: BaseException) -> None:
        """Close the connection, and raise `error` in everything that waits on it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._established = False
        self._ended = error
        if isinstance(error, XmppError):
            error.__traceback__ = None  # it would keep this client alive, and grow with each raise
        connection.close()
        if self._element_wait is not None:
            self._element_wait.finish(error)
        self._dispatcher.fail(error)
