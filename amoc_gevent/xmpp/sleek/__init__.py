"""SleekXMPP's API on top of slixmpp. Its scripts run unmodified; calls block their greenlet only.

In a scenario, use

    from amoc_gevent.xmpp import sleek as sleekxmpp

`python -m amoc_gevent.xmpp.sleek script.py ARGS` runs a script that imports sleekxmpp itself.
Names that are not defined here are slixmpp's own.
"""

import importlib
from typing import Any

from slixmpp import (
    ET,
    JID,
    ElementBase,
    InvalidJID,
    Iq,
    Message,
    Presence,
    XMLStream,
    register_stanza_plugin,
)
from slixmpp.xmlstream.handler import Callback, Collector, Waiter, XMLCallback, XMLWaiter
from slixmpp.xmlstream.matcher import (
    MatcherId,
    MatchMany,
    MatchXMLMask,
    MatchXPath,
    StanzaPath,
)
from slixmpp.xmlstream.stanzabase import StanzaBase
from slixmpp.xmlstream.tostring import tostring

from amoc_gevent.xmpp.sleek.basexmpp import BaseXMPP
from amoc_gevent.xmpp.sleek.clientxmpp import ClientXMPP
from amoc_gevent.xmpp.sleek.componentxmpp import ComponentXMPP
from amoc_gevent.xmpp.sleek.finder import install

__version__ = "1.3.3"
__version_info__ = (1, 3, 3, "", 0)

__all__ = [
    "ET",
    "JID",
    "BaseXMPP",
    "Callback",
    "ClientXMPP",
    "Collector",
    "ComponentXMPP",
    "ElementBase",
    "InvalidJID",
    "Iq",
    "MatchMany",
    "MatchXMLMask",
    "MatchXPath",
    "MatcherId",
    "Message",
    "Presence",
    "StanzaBase",
    "StanzaPath",
    "Waiter",
    "XMLCallback",
    "XMLStream",
    "XMLWaiter",
    "install",
    "register_stanza_plugin",
    "tostring",
]


def __getattr__(name: str) -> Any:
    """Return a submodule of slixmpp: sleekxmpp.exceptions, sleekxmpp.plugins, ..."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return importlib.import_module(f"slixmpp.{name}")
    except ImportError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
