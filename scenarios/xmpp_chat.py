"""Users log in and write to the users with the next ids: delivery time, lost and doubled messages.

A user stays until it is asked to end. It then listens until no more messages arrive, so that every
tracked message is accounted for. `amoc demo xmpp` serves a target with accounts user_N and
passwords password_N.
"""

import random
from contextlib import suppress

from amoc_gevent import settings, user, xmpp

accounts = xmpp.accounts.declare()
neighbours = settings.declare(
    "neighbours",
    4,
    "number of nearest ids that each user writes to, half of them below its own; only users "
    "that are online get messages",
    verify=lambda count: 2 <= count <= 1000 or (False, "must be 2 to 1000"),
)
interval = settings.declare(
    "interval", "1s", "time between two messages of a user", type=settings.duration, update=True
)
size = settings.declare("size", 100, "length of a message", unit="characters")
tracked = settings.declare("tracked", True, "track each message to its recipient")
linger = settings.declare(
    "linger",
    "2s",
    "silence after which a user stops listening; messages that have not arrived by then are lost",
    type=settings.duration,
)


def init() -> None:
    pass


def start(user_id: int) -> None:
    with accounts.client(user_id, inbox=xmpp.Inbox(0)) as client:
        online = Neighbours(client, user_id)
        send = client.send_tracked if tracked.value else client.send_message
        wait = random.uniform(0, interval.value)  # spread the messages over the interval
        while not user.leaving(within=wait):
            if online.jids:
                send(random.choice(online.jids), "x" * size.value)
            wait = interval.value
        online.leave()
        client.settle(linger.value)


class Neighbours:
    """The neighbours of a user that are online, found by exchanging directed presence."""

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
                self._client.send_presence(jid)  # it was offline when we sent ours

    def leave(self) -> None:
        """Tell the neighbours to stop writing to this user."""
        for jid in self.jids:
            self._client.send_presence(jid, type="unavailable")
