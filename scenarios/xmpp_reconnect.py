"""Users chat as in xmpp_chat and lose their connections: time to resume, lost messages.

Some users repeatedly lose their connection without closing the stream, stay offline for a moment,
and resume their session with stream management (XEP-0198). Prosody and ejabberd support it.
"""

import random

from xmpp_chat import Neighbours, accounts, interval, linger, size

from amoc_gevent import metrics, settings, user, xmpp

share = settings.declare(
    "share",
    0.3,
    "fraction of the users that lose their connection, 0 to 1",
    verify=lambda part: 0 <= part <= 1 or (False, "must be 0 to 1"),
)
every = settings.declare("every", "10s", "time between two losses", type=settings.duration)
away = settings.declare("away", "500ms", "time offline after a loss", type=settings.duration)

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
    """Cut the connection every now and then until the user is asked to end."""
    user.sleep(random.uniform(0, every.value))
    while not user.leaving():
        if client.connected:
            dropped.add()
            client.kill()
        user.leaving(within=every.value)


def come_back(client: xmpp.Client) -> None:
    """Stay offline for a moment, then resume the session."""
    user.sleep(away.value)
    with metrics.operation("xmpp reconnect"):
        client.resume()
