"""What comes in and goes out: stanzas as ElementTree elements with the time they arrived."""

from typing import Any
from xml.etree.ElementTree import Element

from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp.errors import XmppError
from amoc_gevent.xmpp.names import BODY_TAG, CLIENT, ERROR_TAG, STANZAS

_TEXT_TAG = f"{{{STANZAS}}}text"
_LOCAL = f"{{{CLIENT}}}"


class Stanza(Element):
    """A message, presence or iq that came in: an Element that knows when.

    `received_at` is when the kernel had its bytes, in seconds of the monotonic clock, which is
    that of `time.monotonic()`. Stanzas that were read together carry the time of the last.
    """

    __slots__ = ("received_at",)

    received_at: float

    @classmethod
    def of(cls, element: Element, received_at: float) -> "Stanza":
        """Return the parsed `element` as a stanza; its children are taken over."""
        made = cls(element.tag, element.attrib)
        made.extend(element)
        made.received_at = received_at
        return made

    @property
    def name(self) -> str:
        """Which it is: "message", "presence" or "iq"."""
        return self.tag.removeprefix(_LOCAL)

    @property
    def id(self) -> str | None:
        """The id that the sender gave it."""
        return self.get("id")

    @property
    def type(self) -> str | None:
        """Such as "chat", "unavailable" or "result"."""
        return self.get("type")

    @property
    def sender(self) -> str | None:
        """Who it is from, a JID; None for the server of one's own."""
        return self.get("from")

    @property
    def to(self) -> str | None:
        """Whom it is for."""
        return self.get("to")

    @property
    def body(self) -> str | None:
        """The text of a message."""
        return self.findtext(BODY_TAG)


def error_of(stanza: Element) -> XmppError:
    """Return the error that a stanza of type "error" carries."""
    error = stanza.find(ERROR_TAG)
    if error is None:
        return XmppError("undefined-condition", text="an error stanza without an error")
    condition = text = ""
    for child in error:
        if child.tag == _TEXT_TAG:
            text = child.text or ""
        elif child.tag.startswith(f"{{{STANZAS}}}"):
            condition = child.tag.partition("}")[2]
    return XmppError(condition or "undefined-condition", error.get("type", "cancel"), text)


def serialised(item: Any) -> bytes:
    """Return `item` as the bytes to send: str, bytes, an Element or one of slixmpp's stanzas."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode()
    from slixmpp.xmlstream import tostring  # noqa: PLC0415  # takes long, and few scenarios need it

    element = item if isinstance(item, Element) else getattr(item, "xml", None)
    if not isinstance(element, Element):
        raise UsageError(
            f"{type(item).__name__} cannot be sent: str, bytes, an Element or a slixmpp stanza"
        )
    return bytes(tostring(element, xmlns=CLIENT).encode())


def escaped(text: str) -> str:
    """Return `text` as it may stand in an element or an attribute in double or single quotes."""
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    if ">" in text:
        text = text.replace(">", "&gt;")
    if "'" in text:
        text = text.replace("'", "&apos;")
    if '"' in text:
        text = text.replace('"', "&quot;")
    return text
