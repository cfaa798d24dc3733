"""slixmpp's stanza objects, for scenarios that use slixmpp's interfaces."""

from typing import Any
from xml.etree.ElementTree import Element

from slixmpp.stanza import Iq, Message, Presence

from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp.names import IQ_TAG, MESSAGE_TAG, PRESENCE_TAG

_CLASSES = {IQ_TAG: Iq, MESSAGE_TAG: Message, PRESENCE_TAG: Presence}


def stanza_object(element: Element) -> Any:
    """Return slixmpp's Message, Presence or Iq for `element`. Raises UsageError for others."""
    stanza_class = _CLASSES.get(element.tag)
    if stanza_class is None:
        raise UsageError(f"{element.tag} is no stanza: message, presence or iq in jabber:client")
    return stanza_class(stream=None, xml=element)
