"""The bytes that the demo server sends: stream headers, errors and IQ answers."""

from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from amoc_gevent.demo.xmpp.reader import RawStanza, without_attribute

STREAM_NS = "http://etherx.jabber.org/streams"
STREAMS = "urn:ietf:params:xml:ns:xmpp-streams"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"

_KINDS = {
    "bad-request": "modify",
    "not-acceptable": "modify",
    "not-authorized": "auth",
    "forbidden": "auth",
}


def header(domain: str, identity: str) -> bytes:
    """Return the server's stream header."""
    return (
        f"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='{STREAM_NS}'"
        f" from={quoteattr(domain)} id='{identity}' version='1.0' xml:lang='en'>"
    ).encode()


def stream_error(condition: str) -> bytes:
    """Return a stream error with the end of the stream (RFC 6120, 4.9)."""
    return f"<stream:error><{condition} xmlns='{STREAMS}'/></stream:error></stream:stream>".encode()


def sasl_failure(condition: str) -> bytes:
    """Return the failure of an authentication (RFC 6120, 6.5)."""
    return f"<failure xmlns='{SASL}'><{condition}/></failure>".encode()


def result(request: RawStanza, sender: str, payload: str = "") -> bytes:
    """Return the result of an IQ, from `sender`."""
    return _answer("iq", request, "result", sender, payload)


def error(request: RawStanza, sender: str, condition: str) -> bytes:
    """Return the error that answers a stanza (RFC 6120, 8.3)."""
    kind = _KINDS.get(condition, "cancel")
    payload = f"<error type='{kind}'><{condition} xmlns='{STANZAS}'/></error>"
    return _answer(request.name, request, "error", sender, payload)


def _answer(name: str, request: RawStanza, kind: str, sender: str, payload: str) -> bytes:
    given = {"type": kind, "id": request.attributes.get("id"), "from": sender}
    attributes = "".join(f" {key}={quoteattr(value)}" for key, value in given.items() if value)
    return f"<{name}{attributes}>{payload}</{name}>".encode()


def element(stanza: RawStanza) -> ElementTree.Element:
    """Return a stanza as an element, in the namespaces of a client's stream."""
    around = f"<s xmlns='jabber:client' xmlns:stream='{STREAM_NS}'>".encode()
    return ElementTree.fromstring(around + stanza.raw + b"</s>")[0]  # noqa: S314  # already parsed once


def opening(name: str, jid: str) -> bytes:
    """Return the first bytes of each forwarded stanza `name` from `jid`."""
    return f"<{name} from={quoteattr(jid)}".encode()


def stamped(stanza: RawStanza, begin: bytes) -> bytes:
    """Return a stanza with its start replaced by `begin`, which has its name and true sender."""
    raw = stanza.raw
    if "from" in stanza.attributes:
        raw = without_attribute(raw, b"from")
    return begin + raw[len(stanza.name) + 1 :]
