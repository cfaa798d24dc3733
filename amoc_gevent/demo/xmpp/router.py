"""The sessions of a domain and the routing of their stanzas (RFC 6120, 10; RFC 6121, 8)."""

import re
from typing import Protocol

from amoc_gevent.demo.xmpp import stanzas
from amoc_gevent.demo.xmpp.accounts import AccountRegistry
from amoc_gevent.demo.xmpp.counts import Pair, XmppCounts
from amoc_gevent.demo.xmpp.faults import FaultyDelivery, Recipient
from amoc_gevent.demo.xmpp.reader import RawStanza

_PRIORITY = re.compile(rb"<priority>\s*([+-]?\d{1,3})\s*</priority>")


class RoutedClient(Recipient, Protocol):
    """The part of a client's session that routing uses; see `ClientSession` for the attributes."""

    user: str
    bare: str
    jid: str
    presence: bytes
    priority: int
    pairs: dict[str, Pair]
    message_begin: bytes

    def fail(self, condition: str) -> None:
        """End the stream with an error."""

    def drop(self) -> None:
        """Close the socket without ending the stream."""


class Router:
    """Routes stanzas between the bound sessions of one domain.

    `bound` maps each full JID to its session, and each bare JID to the session that gets the user's
    messages: the available one with the highest priority, the latest of several. `sessions` has all
    open sessions.
    """

    def __init__(self, domain: str, accounts: AccountRegistry) -> None:
        self.domain = domain
        self.accounts = accounts
        self.counts = XmppCounts()
        self.delivery = FaultyDelivery()
        self.sessions: set[RoutedClient] = set()
        self.bound: dict[str, RoutedClient] = {}
        self._available: dict[str, list[RoutedClient]] = {}

    def bind(self, session: RoutedClient) -> None:
        """Route stanzas to `session` from now on. End an older session with the same full JID."""
        older = self.bound.get(session.jid)
        if older is not None:
            older.fail("conflict")
        self.bound[session.jid] = session
        self.counts.logins += 1

    def unbind(self, session: RoutedClient) -> None:
        """Remove a session that has ended, and tell the user's contacts."""
        if self.bound.get(session.jid) is session:
            del self.bound[session.jid]
        if session.presence:
            gone = stanzas.opening("presence", session.jid) + b" type='unavailable'/>"
            self._leave(session, gone)

    def message(self, session: RoutedClient, stanza: RawStanza) -> None:
        """Deliver and count a message."""
        to = stanza.attributes.get("to", session.bare)
        pair = session.pairs.get(to)
        if pair is None:
            pair = self._pair(session, to)
        pair.received += 1
        recipient = self.bound.get(to)
        if recipient is None:
            recipient = self._find(to)
        if recipient is None:
            pair.undeliverable += 1
            if stanza.attributes.get("type") != "error":
                session.send(stanzas.error(stanza, to, self._why_not(to)))
            return
        data = stanzas.stamped(stanza, session.message_begin)
        if self.delivery.active:
            self.delivery.deliver(pair, recipient, data)
        else:
            pair.delivered += 1
            recipient.send(data)

    def presence(self, session: RoutedClient, stanza: RawStanza) -> None:
        """Send a presence to its recipient, or to the user's contacts if it has none."""
        self.counts.presences += 1
        data = stanzas.stamped(stanza, stanzas.opening("presence", session.jid))
        to, kind = stanza.attributes.get("to"), stanza.attributes.get("type")
        if to is not None:
            for recipient in self._sessions(to):
                recipient.send(data)
        elif kind == "unavailable":
            self._leave(session, data)
        elif kind is None:
            self._enter(session, stanza, data)

    def iq(self, session: RoutedClient, stanza: RawStanza, to: str) -> None:
        """Deliver an IQ to a full JID. Answer an undeliverable request with an error."""
        recipient = self.bound.get(to) if "/" in to else None
        if recipient is None:
            recipient = self._find(to) if "/" in to else None
        if recipient is not None:
            recipient.send(stanzas.stamped(stanza, stanzas.opening("iq", session.jid)))
        elif stanza.attributes.get("type") in ("get", "set"):
            session.send(stanzas.error(stanza, to, self._why_not(to)))

    def resources(self, bare: str) -> list[RoutedClient]:
        """Return the available sessions of a user."""
        return list(self._available.get(bare, ()))

    def _pair(self, session: RoutedClient, to: str) -> Pair:
        pair = self.counts.pair(session.bare, _prepared(to).partition("/")[0])
        session.pairs[to] = pair
        return pair

    def _find(self, to: str) -> RoutedClient | None:
        """Return the session of a JID that is not in normal form."""
        to = _prepared(to)
        found = self.bound.get(to)
        if found is None and "/" in to:
            found = self.bound.get(to.partition("/")[0])  # RFC 6121, 8.5.3.2.1: use the bare JID
        return found

    def _why_not(self, to: str) -> str:
        domain = _prepared(to).partition("/")[0].rpartition("@")[2]
        return "service-unavailable" if domain == self.domain else "remote-server-not-found"

    def _sessions(self, to: str) -> list[RoutedClient]:
        to = _prepared(to)
        if "/" in to:
            found = self.bound.get(to)
            return [] if found is None else [found]
        return self.resources(to)

    def _audience(self, session: RoutedClient) -> list[RoutedClient]:
        """Return the sessions that get a user's presence: those of its contacts and its own."""
        contacts = self.accounts.contacts(session.user)
        bare = [session.bare, *(f"{user}@{self.domain}" for user in contacts)]
        return [each for jid in bare for each in self._available.get(jid, ())]

    def _enter(self, session: RoutedClient, stanza: RawStanza, data: bytes) -> None:
        found = _PRIORITY.search(stanza.raw)
        session.priority = 0 if found is None else int(found[1])
        others = self._available.setdefault(session.bare, [])
        if session in others:
            others.remove(session)
        others.append(session)
        self._choose(session.bare)
        is_first, session.presence = not session.presence, data
        for recipient in self._audience(session):
            recipient.send(data)
            if is_first and recipient is not session:
                session.send(recipient.presence)

    def _leave(self, session: RoutedClient, data: bytes) -> None:
        others = self._available.get(session.bare, [])
        if session not in others:
            return
        for recipient in self._audience(session):
            recipient.send(data)
        session.presence = b""
        others.remove(session)
        if not others:
            del self._available[session.bare]
        self._choose(session.bare)

    def _choose(self, bare: str) -> None:
        """Bind the bare JID to the session that gets its messages."""
        possible = [each for each in self._available.get(bare, ()) if each.priority >= 0]
        self.bound.pop(bare, None)
        if possible:
            self.bound[bare] = max(reversed(possible), key=lambda session: session.priority)


def _prepared(jid: str) -> str:
    """Return a JID with local part and domain in lower case."""
    bare, slash, resource = jid.partition("/")
    return bare.lower() + slash + resource
