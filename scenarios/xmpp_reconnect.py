"""Users chat as in xmpp_chat, while some of them lose and resume their connection.

The run measures how long it takes to resume, and what is lost. The affected users drop their
connection again and again without logging out, stay away for a moment, and resume their session by
stream management (XEP-0198), which Prosody and ejabberd support.
"""

import random

from xmpp_chat import Neighbours, accounts, interval, linger, size

from amoc_gevent import metrics, settings, user, xmpp

share = settings.declare(
    "share",
    0.3,
    "share of users that lose their connection",
    verify=lambda part: 0 <= part <= 1 or (False, "must be 0 to 1"),
)
every = settings.declare("every", "10s", "time between two losses", type=settings.duration)
away = settings.declare("away", "500ms", "time that they stay away", type=settings.duration)

dropped = metrics.counter("connections dropped")


def init() -> None:
    pass


def start(user_id: int) -> None:
    with accounts.client(user_id, inbox=xmpp.Inbox(0), acknowledge=True) as client:
        online = Neighbours(client, user_id)
        if user_id * share.value % 1 < share.value:  # spread evenly over the ids
            user.spawn(drop, client)
        wait = random.uniform(0, interval.value)
        while not user.leaving(within=wait):
            wait = interval.value
            try:
                if online.jids:
                    client.send_tracked(random.choice(online.jids), "x" * size.value)
            except xmpp.Disconnected:
                come_back(client)
        if not client.connected:
            come_back(client)
        online.leave()
        client.settle(linger.value)


def drop(client: xmpp.Client) -> None:
    """Drop the connection every so often, until the user is asked to end."""
    user.sleep(random.uniform(0, every.value))
    while not user.leaving():
        if client.connected:
            dropped.add()
            client.kill()
        user.leaving(within=every.value)


def come_back(client: xmpp.Client) -> None:
    """Resume the session after the time away."""
    user.sleep(away.value)
    with metrics.operation("xmpp reconnect"):
        client.resume()
