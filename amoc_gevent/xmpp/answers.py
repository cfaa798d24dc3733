"""What a client answers by itself: pings, disco, and IQs that nobody knows (RFC 6120 8.4)."""

from amoc_gevent.xmpp.names import DISCO_INFO, PING, STANZAS
from amoc_gevent.xmpp.stanza import Stanza, escaped

_KNOWN = {
    f"{{{PING}}}ping": "",
    f"{{{DISCO_INFO}}}query": (
        f"<query xmlns='{DISCO_INFO}'><identity category='client' type='bot' name='amoc'/>"
        f"<feature var='{DISCO_INFO}'/><feature var='{PING}'/></query>"
    ),
}
_UNKNOWN = f"<error type='cancel'><service-unavailable xmlns='{STANZAS}'/></error>"  # RFC 6120 8.4
_NO_PAYLOAD = f"<error type='modify'><bad-request xmlns='{STANZAS}'/></error>"


def answer(request: Stanza) -> bytes:
    """Return the answer to an iq of type get or set."""
    payload = _NO_PAYLOAD if not len(request) else _UNKNOWN
    kind = "error"
    if request.type == "get" and len(request) and request[0].tag in _KNOWN:
        kind, payload = "result", _KNOWN[request[0].tag]
    to = "" if request.sender is None else f" to='{escaped(request.sender)}'"
    return f"<iq type='{kind}' id='{escaped(request.id or '')}'{to}>{payload}</iq>".encode()
