"""XMPP for scenarios: `Client`, fast and with message tracking; `sleek`, SleekXMPP's API."""

from amoc_gevent.xmpp import accounts, carbons, fanout, mam, muc, pubsub, registration, roster
from amoc_gevent.xmpp.client import Client
from amoc_gevent.xmpp.errors import (
    AuthenticationError,
    ConnectionFailed,
    Disconnected,
    StreamError,
    XmppError,
    XmppTimeout,
)
from amoc_gevent.xmpp.server import Server
from amoc_gevent.xmpp.stanzas.inbox import Inbox
from amoc_gevent.xmpp.stanzas.stanza import Stanza, escaped
from amoc_gevent.xmpp.stream.connection import observe

__all__ = [
    "AuthenticationError",
    "Client",
    "ConnectionFailed",
    "Disconnected",
    "Inbox",
    "Server",
    "Stanza",
    "StreamError",
    "XmppError",
    "XmppTimeout",
    "accounts",
    "carbons",
    "escaped",
    "fanout",
    "mam",
    "muc",
    "observe",
    "pubsub",
    "registration",
    "roster",
]
