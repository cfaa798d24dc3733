"""PubSub (XEP-0060) and PEP (XEP-0163): nodes, subscriptions, items and their events.

`service` is the JID of a service, or the bare JID of a user for that user's PEP nodes. None is the
client's own PEP. Events are messages: `event(service, node)` matches them for `wait_for` and `on`,
`items_of` and `retracted_from` read them.

>>> xmpp.pubsub.publish(client, "pubsub.localhost", "news", "<entry xmlns='urn:news'/>")
>>> event = client.wait_for(xmpp.pubsub.event("pubsub.localhost", "news"), timeout=5)
>>> print(xmpp.pubsub.items_of(event)[0].payload)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, tostring

from amoc_gevent import clock
from amoc_gevent.xmpp.client import Client
from amoc_gevent.xmpp.errors import Disconnected, XmppError, XmppTimeout
from amoc_gevent.xmpp.names import (
    MESSAGE_TAG,
    PUBSUB,
    PUBSUB_CONFIG,
    PUBSUB_EVENT,
    PUBSUB_OPTIONS,
    PUBSUB_OWNER,
)
from amoc_gevent.xmpp.recording import Step
from amoc_gevent.xmpp.retrying import pause_or_raise
from amoc_gevent.xmpp.stanzas import forms
from amoc_gevent.xmpp.stanzas.stanza import Stanza, escaped

_EVENT_TAG = f"{{{PUBSUB_EVENT}}}event"
_EVENT_ITEM_TAG = f"{{{PUBSUB_EVENT}}}item"
_EVENT_RETRACT_TAG = f"{{{PUBSUB_EVENT}}}retract"
_ITEM_TAG = f"{{{PUBSUB}}}item"
_SUBSCRIPTION_TAG = f"{{{PUBSUB}}}subscription"

Options = Mapping[str, forms.Value]
"""Fields of a node's configuration, such as {"pubsub#max_items": 10}."""


@dataclass(frozen=True, slots=True)
class Item:
    """A published item: id, payload, and publisher if the service names it."""

    id: str
    payload: Element | None
    publisher: str | None = None


def create(
    client: Client,
    service: str | None,
    node: str,
    config: Options | None = None,
    *,
    timeout: float | None = None,
) -> None:
    """Create a node. Raises XmppError: "conflict" if it exists, "forbidden" if not permitted."""
    _ask(client, service, "set", _creation(node, config), "pubsub create", timeout)


def ensure(
    client: Client,
    service: str | None,
    node: str,
    config: Options | None = None,
    *,
    timeout: float | None = None,
) -> bool:
    """Create a node unless it exists. Return whether it was created.

    Several users may do so at once. Servers then return transient errors (ejabberd: "Database
    failure"). Errors of type "wait" are retried until `timeout`, within one operation "pubsub
    create".
    """
    query = f"<pubsub xmlns='{PUBSUB}'>{_creation(node, config)}</pubsub>"
    deadline = clock.monotonic() + (client.server.timeout if timeout is None else timeout)
    with Step("pubsub create") as step:
        while True:
            try:
                client._ask(step, "set", query, service, deadline - clock.monotonic())
            except (XmppTimeout, Disconnected):
                raise
            except XmppError as error:
                if error.condition == "conflict":
                    return False
                if error.type != "wait":
                    raise
                pause_or_raise(error, deadline)
            else:
                return True


def delete(client: Client, service: str | None, node: str, *, timeout: float | None = None) -> None:
    """Delete the user's own node with all its items. Its subscribers are notified."""
    text = f"<delete node='{escaped(node)}'/>"
    _ask(client, service, "set", text, "pubsub delete", timeout, PUBSUB_OWNER)


def subscribe(
    client: Client, service: str | None, node: str, *, timeout: float | None = None
) -> str:
    """Subscribe the bare JID to a node; return the state, "subscribed" or "pending"."""
    text = f"<subscribe node='{escaped(node)}' jid='{escaped(client.bare)}'/>"
    answer = _ask(client, service, "set", text, "pubsub subscribe", timeout)
    found = next(answer.iter(_SUBSCRIPTION_TAG), None)
    return "subscribed" if found is None else found.get("subscription", "subscribed")


def unsubscribe(
    client: Client, service: str | None, node: str, *, timeout: float | None = None
) -> None:
    """Unsubscribe the bare JID from a node. Raises XmppError if it is not subscribed."""
    text = f"<unsubscribe node='{escaped(node)}' jid='{escaped(client.bare)}'/>"
    _ask(client, service, "set", text, "pubsub unsubscribe", timeout)


def publish(
    client: Client,
    service: str | None,
    node: str,
    payload: str | Element,
    *,
    id: str | None = None,  # noqa: A002  # what XMPP calls it
    options: Options | None = None,
    timeout: float | None = None,
) -> str:
    """Publish an item; return its id. The service chooses the id unless `id` is given.

    `options` is the configuration that the node must have, or is created with (PEP). The answer
    arrives when the service has the item, which may be before or after its events.
    """
    text = tostring(payload, "unicode") if isinstance(payload, Element) else payload
    named = "" if id is None else f" id='{escaped(id)}'"
    form = forms.submission(PUBSUB_OPTIONS, options) if options else ""
    content = f"<publish node='{escaped(node)}'><item{named}>{text}</item></publish>"
    content += f"<publish-options>{form}</publish-options>" if form else ""
    answer = _ask(client, service, "set", content, "pubsub publish", timeout)
    found = next(answer.iter(_ITEM_TAG), None)
    return (id or "") if found is None else found.get("id", id or "")


def retract(
    client: Client, service: str | None, node: str, item: str, *, timeout: float | None = None
) -> None:
    """Retract the item with id `item`; subscribers are notified. Raises "item-not-found"."""
    text = f"<retract node='{escaped(node)}' notify='1'><item id='{escaped(item)}'/></retract>"
    _ask(client, service, "set", text, "pubsub retract", timeout)


def items(
    client: Client,
    service: str | None,
    node: str,
    *,
    ids: Sequence[str] = (),
    newest: int | None = None,
    timeout: float | None = None,
) -> list[Item]:
    """Return a node's items: those with `ids`, the `newest` N, or all that the service returns.

    Raises XmppError "item-not-found" if the node does not exist.
    """
    most = "" if newest is None else f" max_items='{newest}'"
    wanted = "".join(f"<item id='{escaped(one)}'/>" for one in ids)
    text = f"<items node='{escaped(node)}'{most}>{wanted}</items>"
    answer = _ask(client, service, "get", text, "pubsub items", timeout)
    return [_item(found) for found in answer.iter(_ITEM_TAG)]


def event(service: str | None, node: str) -> Callable[[Stanza], bool]:
    """Return a match for the events of a node, for `wait_for` and `on`.

    With None it matches events of that node from any service, the client's own PEP included.
    """

    def matches(stanza: Stanza) -> bool:
        if stanza.tag != MESSAGE_TAG or service not in {None, stanza.sender}:
            return False
        found = stanza.find(_EVENT_TAG)
        return found is not None and any(child.get("node") == node for child in found)

    return matches


def items_of(message: Element) -> list[Item]:
    """Return the items in an event. The payload is None if the node does not send payloads."""
    return [_item(found) for found in message.iter(_EVENT_ITEM_TAG)]


def retracted_from(message: Element) -> list[str]:
    """Return the ids of the items that an event retracts."""
    return [found.get("id", "") for found in message.iter(_EVENT_RETRACT_TAG)]


def _creation(node: str, config: Options | None) -> str:
    configure = f"<configure>{forms.submission(PUBSUB_CONFIG, config)}</configure>"
    return f"<create node='{escaped(node)}'/>{configure if config else ''}"


def _item(element: Element) -> Item:
    payload = element[0] if len(element) else None
    return Item(element.get("id", ""), payload, element.get("publisher"))


def _ask(
    client: Client,
    service: str | None,
    kind: str,
    content: str,
    name: str,
    timeout: float | None,
    namespace: str = PUBSUB,
) -> Stanza:
    query = f"<pubsub xmlns='{namespace}'>{content}</pubsub>"
    return client.iq(query, to=service, type=kind, timeout=timeout, name=name)
