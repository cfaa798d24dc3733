"""Login: connect, TLS, authentication, resource binding and session, each a timed operation."""

from collections.abc import Callable
from xml.etree.ElementTree import Element

from amoc_gevent.errors import UsageError
from amoc_gevent.transport import Peer, TransportError, context
from amoc_gevent.transport.secure import TlsTransport
from amoc_gevent.xmpp.errors import (
    AuthenticationError,
    ConnectionFailed,
    StreamError,
    XmppError,
    XmppTimeout,
)
from amoc_gevent.xmpp.names import BIND, FEATURES_TAG, SASL, SESSION, TLS
from amoc_gevent.xmpp.recording import Step
from amoc_gevent.xmpp.server import Server
from amoc_gevent.xmpp.stanzas.stanza import condition_of, escaped
from amoc_gevent.xmpp.stanzas.waits import Wait
from amoc_gevent.xmpp.stream import management as sm
from amoc_gevent.xmpp.stream.connection import StreamConnection
from amoc_gevent.xmpp.stream.sasl import Channel, Credentials, SaslClientExchange
from amoc_gevent.xmpp.stream.srv import addresses

NO_STARTTLS = "TLS: the server offers no STARTTLS"
ALPN = "xmpp-client"
STARTTLS = f"<starttls xmlns='{TLS}'/>".encode()
_PROCEED_TAG = f"{{{TLS}}}proceed"
_STARTTLS_TAG = f"{{{TLS}}}starttls"
_MECHANISMS_TAG = f"{{{SASL}}}mechanisms"
_CHALLENGE_TAG = f"{{{SASL}}}challenge"
_SUCCESS_TAG = f"{{{SASL}}}success"
_FAILURE_TAG = f"{{{SASL}}}failure"
_ABORT = f"<abort xmlns='{SASL}'/>".encode()
_OPTIONAL = f"{{{SESSION}}}optional"
BIND_TAG = f"{{{BIND}}}bind"
SESSION_TAG = f"{{{SESSION}}}session"


def open_connection(server: Server, domain: str) -> StreamConnection:
    """Connect to the server, or to the first SRV target that accepts the connection."""
    port = server.port or (5223 if server.tls == "direct" else 5222)
    with Step("xmpp connect") as step:
        if server.host is not None:
            found = [(server.host, port)]
        else:
            found = addresses(domain, server.tls == "direct", server.timeout) or [(domain, port)]
        for number, (host, at) in enumerate(found, 1):
            peer = Peer(host, at, source=server.source())
            try:
                connection = StreamConnection(peer, domain, server.timeout, server.stanza_max)
            except XmppError:
                if number == len(found):
                    raise
            else:
                step.took(connection.transport.connect_us)
                break
    return connection


class Login:
    """One login on a new connection. `wait` receives the elements that are not stanzas.

    `features` holds the stream features that the server offered last.
    """

    def __init__(self, connection: StreamConnection, server: Server, wait: Wait) -> None:
        self._connection = connection
        self._server = server
        self._wait = wait
        self.features: Element

    def open(self) -> None:
        """Open the stream and secure it according to the server's `tls`."""
        if self._server.tls == "direct":
            self._secure()
        self._open_stream()
        if self._server.tls == "starttls":
            self._start_tls()
            self._open_stream()

    def authenticate(self, credentials: Credentials, only: str | None) -> None:
        """Authenticate and restart the stream."""
        self._authenticate(credentials, only)
        self._open_stream()

    def offers(self, tag: str) -> bool:
        """Return whether the server offers a feature."""
        return self.features.find(tag) is not None

    def enable(self) -> Element:
        """Enable acknowledgements and resumption; return the answer."""
        with Step("xmpp enable") as step:
            answer = self._ask(step, sm.ENABLE, "answer to <enable/>")
            if answer.tag != sm.ENABLED_TAG:
                raise _refused(answer)
            return answer

    def resume(self, state: sm.StreamManagement) -> str | None:
        """Resume an earlier stream; return how many stanzas of the client the server has."""
        with Step("xmpp resume") as step:
            answer = self._ask(step, state.resumption(), "answer to <resume/>")
            if answer.tag != sm.RESUMED_TAG:
                raise _refused(answer)
            return answer.get("h")

    def _open_stream(self) -> None:
        with Step("xmpp stream") as step:
            answer = self._ask(step, self._connection.opening(), "stream features")
            if answer.tag != FEATURES_TAG:
                raise StreamError(
                    "unsupported-stanza-type", f"expected stream features, got {answer.tag}"
                )
            self.features = answer

    def _start_tls(self) -> None:
        with Step("xmpp tls") as step:
            if not self.offers(_STARTTLS_TAG):
                way = f'{self._server.host or "it"}: tls="none" or "direct" may be right'
                raise ConnectionFailed(TransportError(NO_STARTTLS, way))
            answer = self._ask(step, STARTTLS, "answer to <starttls/>")
            if answer.tag != _PROCEED_TAG:
                raise ConnectionFailed(TransportError(NO_STARTTLS, "it was offered, and refused"))
            self._handshake(step, ())

    def _secure(self) -> None:
        with Step("xmpp tls") as step:
            self._handshake(step, (ALPN,))

    def _handshake(self, step: Step, protocols: tuple[str, ...]) -> None:
        server = self._server
        try:
            shared = context(server.verify, server.cert, protocols)
        except TransportError as error:  # an unusable certificate file
            raise ConnectionFailed(error) from None
        self._connection.secure(shared, server.timeout)
        step.took(self._connection.transport.tls_us or 0)

    def _authenticate(self, credentials: Credentials, only: str | None) -> None:
        with Step("xmpp auth") as step:
            offered = self.features.find(_MECHANISMS_TAG)
            names = {one.text or "" for one in offered} if offered is not None else set()
            exchange = SaslClientExchange(names, credentials, self._channel(), only)
            text = f"<auth xmlns='{SASL}' mechanism='{exchange.name}'>{exchange.first()}</auth>"
            answer = self._ask(step, text.encode(), "answer to <auth/>")
            while answer.tag == _CHALLENGE_TAG:
                try:
                    text = f"<response xmlns='{SASL}'>{exchange.answer(answer)}</response>"
                except AuthenticationError:
                    self._connection.push(_ABORT)
                    raise
                answer = self._ask(step, text.encode(), "answer to <response/>")
            if answer.tag != _SUCCESS_TAG:
                raise _authentication_error(answer)
            exchange.finish(answer)

    def _channel(self) -> Channel:
        transport = self._connection.transport
        if not isinstance(transport, TlsTransport):
            return Channel()
        return Channel(transport.version, transport.channel_binding())

    def _ask(self, step: Step, request: bytes, awaited: str) -> Element:
        """Send `request` and return the answering element."""
        connection, wait = self._connection, self._wait
        wait.begin()
        connection.push(request)
        sent = connection.transport.sent
        answer: Element | None = wait.until(self._server.timeout)
        if answer is None:
            raise XmppTimeout(awaited, self._server.timeout)
        step.took(int((connection.transport.arrived - sent) * 1e6))
        return answer


def bind(ask: Callable[[Step, str, str], Element], resource: str | None) -> str:
    """Bind a resource (RFC 6120 7); return the full JID that the server assigned."""
    wanted = "" if resource is None else f"<resource>{escaped(resource)}</resource>"
    with Step("xmpp bind") as step:
        answer = ask(step, "set", f"<bind xmlns='{BIND}'>{wanted}</bind>")
        jid = answer.findtext(f"{BIND_TAG}/{{{BIND}}}jid")
        if not jid:
            raise XmppError("undefined-condition", text="the server bound no JID")
        return jid


def start_session(ask: Callable[[Step, str, str], Element], features: Element) -> None:
    """Start a session if the server requires one (RFC 3921)."""
    session = features.find(SESSION_TAG)
    if session is not None and session.find(_OPTIONAL) is None:
        with Step("xmpp session") as step:
            ask(step, "set", f"<session xmlns='{SESSION}'/>")


def credentials(jid: str, password: str, server: Server) -> Credentials:
    """Return the credentials for a JID. Raises UsageError if it is invalid."""
    name, at, domain = jid.partition("/")[0].rpartition("@")
    if not domain or (at and not name):
        raise UsageError(f"{jid!r} is no JID: name@domain, or the domain for an anonymous user")
    return Credentials(name or None, password, domain, server.cert is not None)


def _authentication_error(answer: Element) -> XmppError:
    if answer.tag != _FAILURE_TAG:
        return StreamError(
            "unsupported-stanza-type", f"expected SASL <success/> or <failure/>, got {answer.tag}"
        )
    return AuthenticationError(*condition_of(answer, SASL, "not-authorized"))


def _refused(answer: Element) -> XmppError:
    condition = next((child.tag.rpartition("}")[2] for child in answer), "undefined-condition")
    return XmppError(condition, text="stream management was refused")
