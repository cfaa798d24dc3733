"""One XMPP stream over one connection: open, restart, secure, read and write."""

import ssl
from collections.abc import Callable
from typing import Any
from weakref import ref
from xml.etree.ElementTree import Element

import gevent

from amoc_gevent import clock
from amoc_gevent.transport import (
    Peer,
    Transport,
    TransportError,
    TransportTimeout,
    connect,
    upgrade,
)
from amoc_gevent.transport.errors import CLOSED
from amoc_gevent.xmpp.errors import (
    ConnectionFailed,
    Disconnected,
    StreamError,
    XmppError,
    XmppTimeout,
)
from amoc_gevent.xmpp.names import STREAMS
from amoc_gevent.xmpp.stanzas.stanza import condition_of, escaped
from amoc_gevent.xmpp.stream.reader import Reader

UNSENT_MAX = 1 << 16
"""Unsent bytes above which a sender has to wait."""

_DRAIN_CHECK_SECONDS = 0.005

Observer = Callable[[str, bytes], None]

_observer: Observer | None = None


def observe(callback: Observer | None) -> None:
    """Call `callback` with ">" and all data sent, "<" and all data received. None stops it."""
    global _observer  # noqa: PLW0603  # when off, it costs one test of a module variable
    _observer = callback


class StreamConnection:
    """A connection and the XML stream on it. `domain` is the server's domain.

    `follow` calls a method of `owner` on the hub when data arrives. The reference to the owner is
    weak, so an abandoned client is collected together with its socket.
    """

    __slots__ = ("_owner", "_reader", "_stanza_max", "domain", "end_reason", "transport")

    def __init__(self, peer: Peer, domain: str, timeout: float, stanza_max: int) -> None:
        try:
            self.transport: Transport = connect(peer, timeout)
        except TransportTimeout:
            raise XmppTimeout(f"connection to {peer}", timeout) from None
        except TransportError as error:
            raise ConnectionFailed(error) from None
        self.domain = domain
        self.end_reason = ""
        self._stanza_max = stanza_max
        self._reader = Reader(stanza_max)

    @property
    def stream_id(self) -> str | None:
        """The stream id from the server."""
        header = self._reader.header
        return None if header is None else header.get("id")

    def opening(self) -> bytes:
        """Return a stream header (RFC 6120 4.7), and expect a new one from the server."""
        self._reader = Reader(self._stanza_max)
        return (
            f"<?xml version='1.0'?><stream:stream to='{escaped(self.domain)}' xml:lang='en' "
            "version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        ).encode()

    def follow(self, owner: Any) -> None:
        """Call `owner.readable()` on the hub whenever there is something to `poll`."""
        self._owner = ref(owner)
        self.transport.follow(_readable, self._owner)

    def secure(self, context: ssl.SSLContext, timeout: float) -> None:
        """Negotiate TLS. The peer's certificate must be valid for the domain (RFC 6120 13.7)."""
        self.transport.unfollow()
        try:
            self.transport = upgrade(self.transport, context, self.domain, timeout)
        except TransportTimeout:
            raise XmppTimeout("TLS handshake", timeout) from None
        except TransportError as error:
            raise ConnectionFailed(error) from None
        self.transport.follow(_readable, self._owner)

    def poll(self) -> list[Element]:
        """Return the elements that have arrived, without waiting.

        `end_reason` is set once no more will come. Raises Disconnected if the connection
        is broken, StreamError for invalid XML.
        """
        transport = self.transport
        try:
            data = transport.poll()
        except TransportError as error:
            raise Disconnected(error.kind) from None
        if transport.at_eof:
            self.end_reason = CLOSED
        if not data:
            return []
        if _observer is not None:
            _observer("<", data)
        reader = self._reader
        found = reader.feed(data)
        if reader.ended:
            self.end_reason = "stream closed"
        return found

    def push(self, data: bytes) -> None:
        """Send `data` without waiting. Raises Disconnected if the connection is gone."""
        if _observer is not None:
            _observer(">", data)
        try:
            self.transport.push(data)
        except TransportError as error:
            raise Disconnected(error.kind) from None

    def drain(self, timeout: float) -> None:
        """Wait while more than UNSENT_MAX bytes are unsent. Raises XmppTimeout after `timeout`."""
        deadline = clock.monotonic() + timeout
        while len(self.transport.unsent) > UNSENT_MAX and not self.transport.closed:
            if clock.monotonic() > deadline:
                raise XmppTimeout("room to send", timeout)
            gevent.sleep(_DRAIN_CHECK_SECONDS)

    def close(self) -> None:
        """Close the connection at once."""
        self.transport.close()


def _readable(owner: Callable[[], Any]) -> None:
    """Call the owner of a readable connection, if it still exists."""
    found = owner()
    if found is not None:
        found.readable()


def stream_error(element: Element) -> XmppError:
    """Return the exception for a received stream error."""
    return StreamError(*condition_of(element, STREAMS))
