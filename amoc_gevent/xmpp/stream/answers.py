"""Automatic answers of a client to pings, disco#info, roster pushes and unknown requests."""

from amoc_gevent.xmpp.names import DISCO_INFO, IQ_TAG, PING, ROSTER, STANZAS
from amoc_gevent.xmpp.stanzas.stanza import Stanza, escaped

_KNOWN = {
    f"{{{PING}}}ping": "",
    f"{{{DISCO_INFO}}}query": (
        f"<query xmlns='{DISCO_INFO}'><identity category='client' type='bot' name='amoc'/>"
        f"<feature var='{DISCO_INFO}'/><feature var='{PING}'/></query>"
    ),
}
_UNKNOWN = f"<error type='cancel'><service-unavailable xmlns='{STANZAS}'/></error>"  # RFC 6120 8.4
_NO_PAYLOAD = f"<error type='modify'><bad-request xmlns='{STANZAS}'/></error>"


_ROSTER_TAG = f"{{{ROSTER}}}query"


def answer(request: Stanza, own: str) -> bytes:
    """Return the answer to an iq of type get or set. `own` is the client's bare JID."""
    payload = _NO_PAYLOAD if not len(request) else _UNKNOWN
    kind = "error"
    if request.type == "get" and len(request) and request[0].tag in _KNOWN:
        kind, payload = "result", _KNOWN[request[0].tag]
    elif is_roster_push(request, own):
        kind, payload = "result", ""
    to = "" if request.sender is None else f" to='{escaped(request.sender)}'"
    return f"<iq type='{kind}' id='{escaped(request.id or '')}'{to}>{payload}</iq>".encode()


def is_roster_push(request: Stanza, own: str) -> bool:
    """Return whether an iq is a roster push for `own`. Pushes from anybody else are ignored."""
    return (
        request.tag == IQ_TAG
        and request.type == "set"
        and len(request) == 1
        and request[0].tag == _ROSTER_TAG
        and request.sender in {None, own}  # RFC 6121 2.1.6
    )
