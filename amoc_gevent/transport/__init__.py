"""TCP and TLS streams with the kernel's arrival times, the base of the HTTP and XMPP clients."""

from amoc_gevent.transport.connecting import Peer, SourceAddress, connect, upgrade
from amoc_gevent.transport.errors import TransportError, TransportTimeout
from amoc_gevent.transport.stream import Transport
from amoc_gevent.transport.tls import Certificate, Verify, context
from amoc_gevent.transport.waiting import NEVER, Timed

__all__ = [
    "NEVER",
    "Certificate",
    "Peer",
    "SourceAddress",
    "Timed",
    "Transport",
    "TransportError",
    "TransportTimeout",
    "Verify",
    "connect",
    "context",
    "upgrade",
]
