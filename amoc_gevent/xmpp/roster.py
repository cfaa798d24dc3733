"""Rosters (RFC 6121 2 and 3): a user's contacts, updated by the server's pushes.

>>> contacts = xmpp.roster.fetch(client)
>>> xmpp.roster.put(client, "user_2@localhost", name="Two", groups=["friends"])
>>> xmpp.roster.subscribe(client, "user_2@localhost")
>>> contacts.wait(lambda known: known["user_2@localhost"].subscription == "to", timeout=5)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from gevent.event import Event

from amoc_gevent import clock
from amoc_gevent.xmpp.client import Client
from amoc_gevent.xmpp.errors import Disconnected, XmppTimeout
from amoc_gevent.xmpp.names import PRESENCE_TAG, ROSTER
from amoc_gevent.xmpp.stanzas.stanza import Stanza, escaped
from amoc_gevent.xmpp.stream.answers import is_roster_push
from amoc_gevent.xmpp.tracking import bare

_QUERY_TAG = f"{{{ROSTER}}}query"
_ITEM_TAG = f"{{{ROSTER}}}item"
_GROUP_TAG = f"{{{ROSTER}}}group"
_CHECK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Contact:
    """A roster entry. `subscription` is "none", "to", "from" or "both" (RFC 6121 2.1.2.5).

    `pending` is true while a subscription request awaits the contact's answer.
    """

    jid: str
    name: str = ""
    subscription: str = "none"
    groups: frozenset[str] = frozenset()
    pending: bool = False


class Roster(Mapping[str, Contact]):
    """A client's current contacts by bare JID, a read-only mapping. `fetch` returns it.

    The server's pushes update it while the session lasts, also after a resumption.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._contacts: dict[str, Contact] = {}
        self._changed = Event()

    def __getitem__(self, jid: str) -> Contact:
        return self._contacts[jid]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._contacts))

    def __len__(self) -> int:
        return len(self._contacts)

    def wait(self, test: Callable[["Roster"], object], timeout: float | None = None) -> None:
        """Wait until `test(roster)` is true. A KeyError for a missing contact counts as false.

        Raises XmppTimeout after `timeout` seconds (default: the server's), Disconnected.
        """
        seconds = self._client.server.timeout if timeout is None else timeout
        deadline = clock.monotonic() + seconds
        while not self._holds(test):
            if not self._client.connected:
                raise Disconnected("not connected")
            left = deadline - clock.monotonic()
            if left <= 0:
                raise XmppTimeout("change of the roster", seconds)
            self._changed.clear()
            self._changed.wait(min(left, _CHECK_SECONDS))

    def _holds(self, test: Callable[["Roster"], object]) -> bool:
        try:
            return bool(test(self))
        except KeyError:
            return False

    def _on_push(self, stanza: Stanza) -> None:
        """Apply a push from the user's own account only (RFC 6121 2.1.6); called on the hub."""
        if is_roster_push(stanza, self._client.bare):
            self._take(stanza)

    def _take(self, stanza: Element) -> None:
        for item in stanza.iterfind(f"{_QUERY_TAG}/{_ITEM_TAG}"):
            contact = _contact(item)
            if contact.subscription == "remove":
                self._contacts.pop(contact.jid, None)
            else:
                self._contacts[contact.jid] = contact
        self._changed.set()


def fetch(client: Client, *, timeout: float | None = None) -> Roster:
    """Fetch the roster. From then on the server pushes each change.

    The operation is "roster get".
    """
    roster = Roster(client)
    client.watch(roster._on_push)
    try:
        roster._take(client.iq(f"<query xmlns='{ROSTER}'/>", timeout=timeout, name="roster get"))
    except BaseException:
        client.unwatch(roster._on_push)
        raise
    return roster


def put(
    client: Client,
    jid: str,
    *,
    name: str = "",
    groups: Iterable[str] = (),
    timeout: float | None = None,
) -> None:
    """Add a contact, or change its name and groups. The operation is "roster set"."""
    called = f" name='{escaped(name)}'" if name else ""
    inside = "".join(f"<group>{escaped(group)}</group>" for group in groups)
    item = f"<item jid='{escaped(bare(jid))}'{called}>{inside}</item>"
    _set(client, item, "roster set", timeout)


def remove(client: Client, jid: str, *, timeout: float | None = None) -> None:
    """Remove a contact and the subscriptions in both directions.

    The operation is "roster remove". Some servers raise XmppError "item-not-found" for an unknown
    contact.
    """
    item = f"<item jid='{escaped(bare(jid))}' subscription='remove'/>"
    _set(client, item, "roster remove", timeout)


def subscribe(client: Client, jid: str) -> None:
    """Request a subscription to a contact's presence. The contact has to `approve` it."""
    client.send_presence(bare(jid), type="subscribe")


def approve(client: Client, jid: str) -> None:
    """Approve a contact's subscription request; for `client.on(roster.asks, ...)`."""
    client.send_presence(bare(jid), type="subscribed")


def refuse(client: Client, jid: str) -> None:
    """Refuse a contact's subscription request, or cancel the subscription."""
    client.send_presence(bare(jid), type="unsubscribed")


def unsubscribe(client: Client, jid: str) -> None:
    """Unsubscribe from a contact's presence."""
    client.send_presence(bare(jid), type="unsubscribe")


def asks(stanza: Stanza) -> bool:
    """Match subscription requests; for `wait_for` and `on`."""
    return stanza.tag == PRESENCE_TAG and stanza.type == "subscribe"


def _set(client: Client, item: str, name: str, timeout: float | None) -> None:
    client.iq(f"<query xmlns='{ROSTER}'>{item}</query>", type="set", timeout=timeout, name=name)


def _contact(item: Element) -> Contact:
    return Contact(
        item.get("jid", ""),
        item.get("name", ""),
        item.get("subscription", "none"),
        frozenset(group.text or "" for group in item.iterfind(_GROUP_TAG)),
        item.get("ask") == "subscribe",
    )
