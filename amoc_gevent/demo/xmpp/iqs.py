"""The demo server's answers to IQs: bind, session, roster, ping, disco, version, registration."""

import secrets
from collections.abc import Callable
from typing import Protocol
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

import amoc_gevent
from amoc_gevent.demo.xmpp import stanzas
from amoc_gevent.demo.xmpp.reader import RawStanza
from amoc_gevent.demo.xmpp.router import RoutedClient, Router

BIND = "urn:ietf:params:xml:ns:xmpp-bind"
SESSION = "urn:ietf:params:xml:ns:xmpp-session"
ROSTER = "jabber:iq:roster"
PING = "urn:xmpp:ping"
INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"
VERSION = "jabber:iq:version"
REGISTER = "jabber:iq:register"
FEATURES = (INFO, ITEMS, PING, REGISTER, ROSTER, VERSION)


class IqClient(RoutedClient, Protocol):
    """The part of a client's session that IQ handlers use."""

    router: Router

    def bind(self, resource: str) -> None:
        """Bind a resource."""

    def answer(self, step: str, data: bytes) -> None:
        """Send the answer to a login step, or apply the fault that is set for it."""


Handler = Callable[[IqClient, RawStanza, Element], None]


def answer(session: IqClient, stanza: RawStanza) -> None:
    """Answer an IQ to the server or to the user's own account. Ignore results and errors."""
    kind = stanza.attributes.get("type")
    if kind not in ("get", "set"):
        return
    payload = next(iter(stanzas.element(stanza)), None)
    handler = None if payload is None else _HANDLERS.get((kind, payload.tag))
    if payload is None or "id" not in stanza.attributes:
        _refuse(session, stanza, "bad-request")
    elif handler is None or (not session.jid and handler not in _BEFORE_BIND):
        _refuse(session, stanza, "service-unavailable" if session.jid else "not-authorized")
    else:
        handler(session, stanza, payload)


def _reply(session: IqClient, stanza: RawStanza, payload: str = "") -> None:
    sender = stanza.attributes.get("to") or session.router.domain
    session.send(stanzas.result(stanza, sender, payload))


def _refuse(session: IqClient, stanza: RawStanza, condition: str) -> None:
    sender = stanza.attributes.get("to") or session.router.domain
    session.send(stanzas.error(stanza, sender, condition))


def _bind(session: IqClient, stanza: RawStanza, payload: Element) -> None:
    if not session.user:
        _refuse(session, stanza, "not-authorized")
    elif session.jid:
        _refuse(session, stanza, "not-allowed")
    else:
        wanted = payload.findtext(f"{{{BIND}}}resource") or secrets.token_hex(4)
        session.bind(wanted)
        jid = f"<bind xmlns='{BIND}'><jid>{escape(session.jid)}</jid></bind>"
        session.answer("bind", stanzas.result(stanza, "", jid))


def _session(session: IqClient, stanza: RawStanza, _payload: Element) -> None:
    session.answer("session", stanzas.result(stanza, ""))


def _roster(session: IqClient, stanza: RawStanza, _payload: Element) -> None:
    domain = session.router.domain
    jids = [f"{user}@{domain}" for user in session.router.accounts.contacts(session.user)]
    items = "".join(f"<item jid={quoteattr(jid)} subscription='both'/>" for jid in jids)
    session.send(stanzas.result(stanza, "", f"<query xmlns='{ROSTER}'>{items}</query>"))


def _ping(session: IqClient, stanza: RawStanza, _payload: Element) -> None:
    _reply(session, stanza)


def _info(session: IqClient, stanza: RawStanza, _payload: Element) -> None:
    identity = "<identity category='server' type='im' name='amoc demo'/>"
    features = "".join(f"<feature var='{each}'/>" for each in FEATURES)
    _reply(session, stanza, f"<query xmlns='{INFO}'>{identity}{features}</query>")


def _items(session: IqClient, stanza: RawStanza, _payload: Element) -> None:
    _reply(session, stanza, f"<query xmlns='{ITEMS}'/>")


def _version(session: IqClient, stanza: RawStanza, _payload: Element) -> None:
    fields = f"<name>amoc demo</name><version>{amoc_gevent.__version__}</version>"
    _reply(session, stanza, f"<query xmlns='{VERSION}'>{fields}</query>")


def _form(session: IqClient, stanza: RawStanza, _payload: Element) -> None:
    if session.user:
        fields = f"<registered/><username>{escape(session.user)}</username><password/>"
    else:
        fields = "<instructions>Choose a name and a password.</instructions><username/><password/>"
    _reply(session, stanza, f"<query xmlns='{REGISTER}'>{fields}</query>")


def _register(session: IqClient, stanza: RawStanza, payload: Element) -> None:
    """Create an account, change its password or, with <remove/>, remove it (XEP-0077, 3)."""
    accounts = session.router.accounts
    if payload.find(f"{{{REGISTER}}}remove") is not None:
        if not session.jid:
            _refuse(session, stanza, "forbidden")
            return
        accounts.remove(session.user)
        _reply(session, stanza)
        session.fail("not-authorized")
        return
    user = (payload.findtext(f"{{{REGISTER}}}username") or "").lower()
    password = payload.findtext(f"{{{REGISTER}}}password") or ""
    if not user or not password or set(user) & set("\"&'/:<>@ "):
        _refuse(session, stanza, "not-acceptable")
    elif session.user != user and accounts.password_of(user) is not None:
        _refuse(session, stanza, "conflict")
    elif session.user and session.user != user:
        _refuse(session, stanza, "not-allowed")
    else:
        accounts.register(user, password)
        session.router.counts.registered += not session.user
        _reply(session, stanza)


_HANDLERS: dict[tuple[str, str], Handler] = {
    ("set", f"{{{BIND}}}bind"): _bind,
    ("set", f"{{{SESSION}}}session"): _session,
    ("get", f"{{{ROSTER}}}query"): _roster,
    ("get", f"{{{PING}}}ping"): _ping,
    ("get", f"{{{INFO}}}query"): _info,
    ("get", f"{{{ITEMS}}}query"): _items,
    ("get", f"{{{VERSION}}}query"): _version,
    ("get", f"{{{REGISTER}}}query"): _form,
    ("set", f"{{{REGISTER}}}query"): _register,
}
_BEFORE_BIND = {_bind, _form, _register}
