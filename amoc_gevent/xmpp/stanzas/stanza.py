"""Stanzas as ElementTree elements with their time of arrival."""

from typing import Any
from xml.etree.ElementTree import Element

from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp.errors import XmppError
from amoc_gevent.xmpp.names import BODY_TAG, CLIENT, ERROR_TAG, STANZAS

_LOCAL = f"{{{CLIENT}}}"


class Stanza(Element):
    """A received message, presence or iq: an Element with its time of arrival.

    `received_at` is when the kernel received its bytes, in seconds of `time.monotonic()`. Stanzas
    that were read together carry the time of the last.
    """

    __slots__ = ("received_at",)

    received_at: float

    @classmethod
    def of(cls, element: Element, received_at: float) -> "Stanza":
        """Return the parsed `element` as a stanza that shares its children."""
        made = cls(element.tag, element.attrib)
        made.extend(element)
        made.received_at = received_at
        return made

    @property
    def name(self) -> str:
        """The name: "message", "presence" or "iq"."""
        return self.tag.removeprefix(_LOCAL)

    @property
    def id(self) -> str | None:
        """The id that the sender chose."""
        return self.get("id")

    @property
    def type(self) -> str | None:
        """The type, such as "chat", "unavailable" or "result"."""
        return self.get("type")

    @property
    def sender(self) -> str | None:
        """The JID of the sender; None if it is the user's own server."""
        return self.get("from")

    @property
    def to(self) -> str | None:
        """The JID of the recipient."""
        return self.get("to")

    @property
    def body(self) -> str | None:
        """The text of a message."""
        return self.findtext(BODY_TAG)


def error_of(stanza: Element) -> XmppError:
    """Return the error that a stanza of type "error" carries."""
    error = stanza.find(ERROR_TAG)
    if error is None:
        return XmppError("undefined-condition", text="the error stanza has no error element")
    condition, text = condition_of(error, STANZAS)
    return XmppError(condition, error.get("type", "cancel"), text)


def condition_of(
    error: Element, namespace: str, default: str = "undefined-condition"
) -> tuple[str, str]:
    """Return the defined condition in an error element, and the text that describes it."""
    condition, text = default, ""
    for child in error:
        found, _, name = child.tag.rpartition("}")
        if found == f"{{{namespace}":
            if name == "text":
                text = child.text or ""
            else:
                condition = name
    return condition, text


def serialised(item: Any) -> bytes:
    """Return `item` as the bytes to send: str, bytes, an Element or a slixmpp stanza."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode()
    from slixmpp.xmlstream import tostring  # noqa: PLC0415  # slow to import, and few scenarios need it

    element = item if isinstance(item, Element) else getattr(item, "xml", None)
    if not isinstance(element, Element):
        raise UsageError(
            f"{type(item).__name__} cannot be sent: str, bytes, an Element or a slixmpp stanza"
        )
    return bytes(tostring(element, xmlns=CLIENT).encode())


def escaped(text: str) -> str:
    """Escape `text` for an element, or an attribute in double or single quotes."""
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
