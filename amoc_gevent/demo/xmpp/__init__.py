"""The demo XMPP server: small, fast, and with faults on request."""

from amoc_gevent.demo.xmpp.accounts import AccountRegistry
from amoc_gevent.demo.xmpp.faults import STEPS, Faults
from amoc_gevent.demo.xmpp.server import XmppServer

__all__ = ["STEPS", "AccountRegistry", "Faults", "XmppServer"]
