"""One XMPP stream over one connection: opened, restarted, secured, read on the hub, written to."""

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
from amoc_gevent.xmpp.errors import (
    CLOSED,
    ConnectionFailed,
    Disconnected,
    StreamError,
    XmppError,
    XmppTimeout,
)
from amoc_gevent.xmpp.names import STREAMS
from amoc_gevent.xmpp.stanzas.stanza import escaped
from amoc_gevent.xmpp.stream.reader import Reader

KEPT_MAX = 1 << 16
"""Bytes that may wait to be sent before whoever sends more has to wait as well."""

_DRAIN_CHECK_SECONDS = 0.005

Observer = Callable[[str, bytes], None]

_observer: Observer | None = None


def observe(callback: Observer | None) -> None:
    """Call `callback` with ">" and all that is sent, "<" and all that comes in; None ends it."""
    global _observer  # noqa: PLW0603  # one test of a module's variable is what it costs when off
    _observer = callback


class StreamConnection:
    """A connection and the XML stream on it; `domain` is whom the stream is with.

    `follow` has a method of `owner` called, on the hub, when elements come in; the owner is
    referred to weakly, so that a client nobody holds any longer is collected, and its socket with
    it.
    """

    __slots__ = ("_owner", "_reader", "_stanza_max", "domain", "over", "transport")

    def __init__(self, peer: Peer, domain: str, timeout: float, stanza_max: int) -> None:
        try:
            self.transport: Transport = connect(peer, timeout)
        except TransportTimeout:
            raise XmppTimeout(f"connection to {peer}", timeout) from None
        except TransportError as error:
            raise ConnectionFailed(error) from None
        self.domain = domain
        self.over = ""
        self._stanza_max = stanza_max
        self._reader = Reader(stanza_max)

    @property
    def stream_id(self) -> str | None:
        """The id that the server gave the stream."""
        header = self._reader.header
        return None if header is None else header.get("id")

    def opening(self) -> bytes:
        """Return what opens a stream (RFC 6120 4.7), and expect another one from the server."""
        self._reader = Reader(self._stanza_max)
        return (
            f"<?xml version='1.0'?><stream:stream to='{escaped(self.domain)}' xml:lang='en' "
            "version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        ).encode()

    def follow(self, owner: Any) -> None:
        """Have `owner.readable()` called on the hub whenever there is something to `poll`."""
        self._owner = ref(owner)
        self.transport.follow(_readable, self._owner)

    def secure(self, context: ssl.SSLContext, timeout: float) -> None:
        """Agree on TLS with a peer that must have a certificate for the domain (RFC 6120 13.7)."""
        self.transport.unfollow()
        try:
            self.transport = upgrade(self.transport, context, self.domain, timeout)
        except TransportTimeout:
            raise XmppTimeout("TLS hand-shake", timeout) from None
        except TransportError as error:
            raise ConnectionFailed(error) from None
        self.transport.follow(_readable, self._owner)

    def poll(self) -> list[Element]:
        """Return the elements that have arrived; it never waits.

        `over` names why no more will come, once that is so. Raises Disconnected when the connection
        is broken, StreamError for what is no XML.
        """
        transport = self.transport
        try:
            data = transport.poll()
        except TransportError as error:
            raise Disconnected(error.kind) from None
        if transport.over:
            self.over = CLOSED
        if not data:
            return []
        if _observer is not None:
            _observer("<", data)
        reader = self._reader
        found = reader.feed(data)
        if reader.ended:
            self.over = "stream closed"
        return found

    def push(self, data: bytes) -> None:
        """Send `data` without waiting. Raises Disconnected when that is impossible."""
        if _observer is not None:
            _observer(">", data)
        try:
            self.transport.push(data)
        except TransportError as error:
            raise Disconnected(error.kind) from None

    def drain(self, timeout: float) -> None:
        """Wait while a lot is still to be sent. Raises XmppTimeout when it does not become less."""
        deadline = clock.monotonic() + timeout
        while len(self.transport.kept) > KEPT_MAX and not self.transport.closed:
            if clock.monotonic() > deadline:
                raise XmppTimeout("room to send", timeout)
            gevent.sleep(_DRAIN_CHECK_SECONDS)

    def close(self) -> None:
        """Close the connection at once."""
        self.transport.close()


def _readable(owner: Callable[[], Any]) -> None:
    """Call the client of a connection that is readable, if there still is one."""
    found = owner()
    if found is not None:
        found.readable()


def stream_error(element: Element) -> XmppError:
    """Return what a stream error that came in says."""
    condition, text = "undefined-condition", ""
    for child in element:
        namespace, _, name = child.tag.rpartition("}")
        if namespace == f"{{{STREAMS}":
            if name == "text":
                text = child.text or ""
            else:
                condition = name
    return StreamError(condition, text)
