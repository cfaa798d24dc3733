"""Carbons (XEP-0280): copies of the messages that a user's other devices send and receive.

>>> xmpp.carbons.enable(client)
>>> copy = xmpp.carbons.unwrap(client, client.wait_for(xmpp.carbons.copies(client), timeout=5))
>>> print(copy.direction, copy.message.body)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from amoc_gevent.xmpp.client import Client
from amoc_gevent.xmpp.names import CARBONS, FORWARD, MESSAGE_TAG
from amoc_gevent.xmpp.stanzas.stanza import Stanza

Direction = Literal["sent", "received"]
PRIVATE = f"<private xmlns='{CARBONS}'/><no-copy xmlns='urn:xmpp:hints'/>"
"""Pass it as `extra=` to exclude a message from copying (XEP-0280 9, XEP-0334)."""

_TAGS: dict[str, Direction] = {
    f"{{{CARBONS}}}sent": "sent",
    f"{{{CARBONS}}}received": "received",
}
_PATH = f"{{{FORWARD}}}forwarded/{MESSAGE_TAG}"


@dataclass(frozen=True, slots=True)
class Copy:
    """A message that another device of the user has "sent" or "received"."""

    direction: Direction
    message: Stanza


def enable(client: Client, *, timeout: float | None = None) -> None:
    """Enable copies for this session. The operation is "carbons enable"."""
    client.iq(f"<enable xmlns='{CARBONS}'/>", type="set", timeout=timeout, name="carbons enable")


def disable(client: Client, *, timeout: float | None = None) -> None:
    """Disable copies for this session. The operation is "carbons disable"."""
    client.iq(f"<disable xmlns='{CARBONS}'/>", type="set", timeout=timeout, name="carbons disable")


def unwrap(client: Client, stanza: Stanza) -> Copy | None:
    """Return the copy in a message, or None.

    A copy that does not come from the user's own account is forged, and ignored (XEP-0280 11).
    """
    if stanza.tag != MESSAGE_TAG or stanza.sender not in {None, client.bare}:
        return None
    for child in stanza:
        direction = _TAGS.get(child.tag)
        if direction is not None:
            inner = child.find(_PATH)
            if inner is not None:
                return Copy(direction, Stanza.of(inner, stanza.received_at))
    return None


def copies(client: Client) -> Callable[[Stanza], bool]:
    """Return a match for copies, for `wait_for` and `on`."""
    return lambda stanza: unwrap(client, stanza) is not None
