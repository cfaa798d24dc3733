"""Users write to their neighbours by id; each message is tracked to its receiver.

The run measures the time to delivery and counts lost and duplicated messages. Each user stays
until it is asked to end, then listens until nothing more arrives, so that sent and received
messages balance. `amoc demo xmpp` serves a target; the accounts are user_N with password_N.
"""

import random
from contextlib import suppress

from amoc_gevent import settings, user, xmpp

accounts = xmpp.accounts.declare()
neighbours = settings.declare(
    "neighbours",
    4,
    "neighbours that each user writes to while they are online: half of them have lower ids, half "
    "higher",
    verify=lambda count: 2 <= count <= 1000 or (False, "must be 2 to 1000"),
)
interval = settings.declare(
    "interval", "1s", "time between two messages of a user", type=settings.duration, update=True
)
size = settings.declare("size", 100, "length of a message", unit="characters")
tracked = settings.declare("tracked", True, "track each message to its receiver")
linger = settings.declare(
    "linger",
    "2s",
    "how long a user keeps listening after the last arrival; what arrives later counts as lost",
    type=settings.duration,
)


def init() -> None:
    pass


def start(user_id: int) -> None:
    with accounts.client(user_id, inbox=xmpp.Inbox(0)) as client:
        online = Neighbours(client, user_id)
        send = client.send_tracked if tracked.value else client.send_message
        wait = random.uniform(0, interval.value)  # or all would write at the same moment
        while not user.leaving(within=wait):
            if online.jids:
                send(random.choice(online.jids), "x" * size.value)
            wait = interval.value
        online.leave()
        client.settle(linger.value)


class Neighbours:
    """The neighbours of a user that are online; they exchange directed presence to find out."""

    def __init__(self, client: xmpp.Client, user_id: int) -> None:
        reach = neighbours.value // 2
        ids = range(max(1, user_id - reach), user_id + reach + 1)
        self._all = [accounts.jid(one) for one in ids if one != user_id]
        self._client = client
        self.jids: list[str] = []
        client.on("presence", self._heard)
        for jid in self._all:
            client.send_presence(jid)

    def _heard(self, presence: xmpp.Stanza) -> None:
        jid = (presence.sender or "").partition("/")[0]
        if presence.type == "unavailable" and jid in self.jids:
            self.jids.remove(jid)
        elif presence.type is None and jid in self._all and jid not in self.jids:
            self.jids.append(jid)
            with suppress(xmpp.Disconnected):
                self._client.send_presence(jid)  # it was offline when ours was sent

    def leave(self) -> None:
        """Tell the neighbours to stop writing."""
        for jid in self.jids:
            self._client.send_presence(jid, type="unavailable")
