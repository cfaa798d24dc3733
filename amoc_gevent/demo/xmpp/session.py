"""One client's session with the demo server, from the stream header to the end of the stream."""

import _socket
import secrets
import ssl

from amoc_gevent.demo.xmpp import iqs, stanzas
from amoc_gevent.demo.xmpp.counts import Pair
from amoc_gevent.demo.xmpp.faults import NOT_XML
from amoc_gevent.demo.xmpp.reader import Closed, InvalidStreamError, Opened, RawStanza, StreamReader
from amoc_gevent.demo.xmpp.router import Router
from amoc_gevent.demo.xmpp.sasl import MECHANISMS, SaslError, SaslExchange
from amoc_gevent.demo.xmpp.wire import Wire

HANDSHAKE = 0x16  # the first byte of a TLS client's first record


class ClientSession:
    """Answers one client until either side ends the stream.

    `user` is the authenticated user, `jid` the full JID once a resource is bound, `presence` the
    last broadcast presence; all are empty before. With `context` the client may use STARTTLS or
    direct TLS. The first byte shows which it uses.
    """

    __slots__ = (
        "_context",
        "_exchange",
        "_opened",
        "_reader",
        "_stanza_max",
        "_wire",
        "bare",
        "jid",
        "message_begin",
        "pairs",
        "presence",
        "priority",
        "router",
        "send",
        "user",
    )

    def __init__(
        self,
        router: Router,
        sock: _socket.socket,
        context: ssl.SSLContext | None,
        stanza_max: int,
    ) -> None:
        self.router = router
        self._context = context
        self._stanza_max = stanza_max
        self.user = self.bare = self.jid = ""
        self.message_begin = b""
        self.pairs: dict[str, Pair] = {}
        self.presence = b""
        self.priority = 0
        self._exchange: SaslExchange | None = None
        self._opened = False
        self._reader = StreamReader(stanza_max)
        self._wire = Wire(sock, self._received, self._ended)
        self.send = self._wire.send
        router.sessions.add(self)
        router.counts.connections += 1
        if fault := router.delivery.faults.at("connect"):
            self._fault(fault)

    @property
    def gone(self) -> bool:
        """Whether the client is unreachable."""
        return self._wire.closing

    def reset(self) -> None:
        """Reset the connection."""
        self._wire.reset()

    def drop(self) -> None:
        """Close the socket without ending the stream."""
        self._wire.drop()

    def fail(self, condition: str) -> None:
        """End the stream with an error."""
        opening = b"" if self._opened else stanzas.header(self.router.domain, "none")
        self._depart()
        self.send(opening + stanzas.stream_error(condition))
        self._wire.close()

    def bind(self, resource: str) -> None:
        """Bind a resource."""
        self.jid = f"{self.bare}/{resource}"
        self.message_begin = stanzas.opening("message", self.jid)
        self.router.bind(self)

    def answer(self, step: str, data: bytes) -> None:
        """Send the answer to a login step, or apply the fault that is set for it."""
        if fault := self.router.delivery.faults.at(step):
            self._fault(fault)
        else:
            self.send(data)

    def _fault(self, kind: str) -> None:
        self.router.counts.steps[kind] += 1
        if kind == "silent":
            self._wire.mute()
        elif kind == "cut":
            self._wire.reset()
        else:
            self.send(NOT_XML)
            self._wire.mute()

    def _received(self, data: bytes) -> None:
        if not self._opened and not self._wire.secure and data[0] == HANDSHAKE and self._context:
            self._begin_tls(self._context)
            if self._wire.secure:
                self._wire.take(data)
            return
        try:
            events = self._reader.feed(data)
        except InvalidStreamError as error:
            self.fail(str(error))
            return
        for event in events:
            if type(event) is RawStanza:
                if self.jid and event.name == "message":
                    self.router.message(self, event)
                else:
                    self._stanza(event)
            elif type(event) is Opened:
                self._open(event.attributes)
            elif type(event) is Closed:
                self._depart()
                self.send(b"</stream:stream>")
                self._wire.close()

    def _begin_tls(self, context: ssl.SSLContext) -> None:
        if fault := self.router.delivery.faults.at("tls"):
            self._fault(fault)
        else:
            self._wire.start_tls(context)

    def _ended(self) -> None:
        self._reader.close()
        self.router.sessions.discard(self)
        self._depart()

    def _depart(self) -> None:
        """Remove this session from the router."""
        if self.jid:
            self.router.unbind(self)
            self.jid = ""

    def _open(self, attributes: dict[str, str]) -> None:
        domain = self.router.domain
        if attributes.get("xmlns") != "jabber:client":
            self.fail("invalid-namespace")
        elif attributes.get("to", domain).lower() != domain:
            self.fail("host-unknown")
        else:
            self._opened = True
            features = f"<stream:features>{self._features()}</stream:features>".encode()
            self.answer("stream", stanzas.header(domain, secrets.token_hex(8)) + features)

    def _features(self) -> str:
        if self.user:
            optional = f"<session xmlns='{iqs.SESSION}'><optional/></session>"
            return f"<bind xmlns='{iqs.BIND}'/>{optional}"
        offered = "".join(f"<mechanism>{name}</mechanism>" for name in MECHANISMS)
        tls = f"<starttls xmlns='{stanzas.TLS}'/>" if self._can_start_tls() else ""
        register = "<register xmlns='http://jabber.org/features/iq-register'/>"
        return f"{tls}<mechanisms xmlns='{stanzas.SASL}'>{offered}</mechanisms>{register}"

    def _can_start_tls(self) -> bool:
        return self._context is not None and not self._wire.secure

    def _restart(self) -> None:
        """Expect a new stream header on the same connection."""
        self._reader.close()
        self._reader = StreamReader(self._stanza_max)
        self._opened = False

    def _stanza(self, stanza: RawStanza) -> None:
        name = stanza.name
        if name == "iq":
            self._iq(stanza)
        elif name == "presence" and self.jid:
            self.router.presence(self, stanza)
        elif name == "starttls" and self._can_start_tls():
            self.answer("starttls", f"<proceed xmlns='{stanzas.TLS}'/>".encode())
            self._restart()  # the first byte of the handshake starts TLS
        elif name in ("auth", "response", "abort") and not self.user:
            self._authenticate(stanza)
        elif name in ("message", "presence"):
            self.fail("not-authorized")
        else:
            self.fail("unsupported-stanza-type")

    def _iq(self, stanza: RawStanza) -> None:
        self.router.counts.iqs += 1
        to = stanza.attributes.get("to", "").lower()
        if self.jid and to not in ("", self.router.domain, self.bare):
            self.router.iq(self, stanza, stanza.attributes["to"])
        else:
            iqs.answer(self, stanza)

    def _authenticate(self, stanza: RawStanza) -> None:
        text = (stanzas.element(stanza).text or "").strip()
        if stanza.name == "auth" and not text:  # no initial response
            text = "="
        try:
            exchange = self._exchange_of(stanza)
            said = exchange.step(text)
        except SaslError as error:
            self._exchange = None
            self.router.counts.refused += 1
            self.answer("auth", stanzas.sasl_failure(str(error)))
            return
        name = "success" if exchange.done else "challenge"
        if exchange.done:
            self.user = exchange.user.lower()
            self.bare = f"{self.user}@{self.router.domain}"
            self._exchange = None
            self._restart()
        self.answer("auth", f"<{name} xmlns='{stanzas.SASL}'>{said}</{name}>".encode())

    def _exchange_of(self, stanza: RawStanza) -> SaslExchange:
        """Return the exchange that a stanza begins or continues."""
        if stanza.name == "abort":
            raise SaslError("aborted")
        if stanza.name == "auth":
            mechanism = stanza.attributes.get("mechanism", "")
            self._exchange = SaslExchange(mechanism, self.router.accounts.password_of)
        if self._exchange is None:
            raise SaslError("malformed-request")
        return self._exchange
