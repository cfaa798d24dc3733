"""Users log in, change their presence and log out, to measure presence fan-out to their contacts.

The contacts of a user are the nearest ids. Users that are not yet in each other's roster subscribe
first, and the subscriptions remain for later runs. Operations: "roster get", and "presence
delivery" from a change to its arrival at each contact. "presences lost" counts changes that did not
reach a contact. `amoc demo xmpp --neighbours 5` serves a target with such rosters.
"""

import random

from amoc_gevent import metrics, settings, user, xmpp

accounts = xmpp.accounts.declare()
contacts = settings.declare(
    "contacts",
    10,
    "contacts of each user: the nearest ids, half of them below its own",
    verify=lambda count: 2 <= count <= 1000 or (False, "must be 2 to 1000"),
)
interval = settings.declare(
    "interval", "10s", "time between two changes of a user", type=settings.duration, update=True
)

changed = metrics.counter("presences changed")

SHOWS = ("away", "chat", "dnd", "xa", None)


def init() -> None:
    pass


def start(user_id: int) -> None:
    reach = contacts.value // 2
    ids = range(max(1, user_id - reach), user_id + reach + 1)
    wanted = {accounts.jid(one) for one in ids if one != user_id}
    source = xmpp.fanout.Source()
    receiver = xmpp.fanout.Receiver("presence delivery", "presences lost")
    client = accounts.client(user_id, inbox=xmpp.Inbox(0))

    def answer(asked: xmpp.Stanza) -> None:
        if asked.sender in wanted:
            xmpp.roster.approve(client, asked.sender)

    client.on(xmpp.roster.asks, answer)
    client.on("presence", receiver.record)
    with client.connect(presence=False):
        known = xmpp.roster.fetch(client)
        client.send_presence(extra=source.next())
        for jid in wanted:
            if jid not in known or known[jid].subscription not in {"to", "both"}:
                xmpp.roster.subscribe(client, jid)
        wait = random.uniform(0, interval.value)  # spread the changes over the interval
        while not user.leaving(within=wait):
            client.send_presence(show=random.choice(SHOWS), extra=source.next())
            changed.add()
            wait = interval.value
        client.send_presence(type="unavailable")
