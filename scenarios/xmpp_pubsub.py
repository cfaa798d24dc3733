"""Users publish to a node that they share and hear of it: time to publish, time of each event.

So many ids in a row share a node (XEP-0060), which the first of them to come makes; users must be
allowed to. Operations: "pubsub publish" until the service has the item, "pubsub event" until a
subscriber has its event; "pubsub events lost" counts what a subscriber has not heard of.
"""

import random

from amoc_gevent import metrics, settings, user, xmpp

accounts = xmpp.accounts.declare()
service = settings.declare("service", "pubsub.localhost", "the JID of the PubSub service")
node = settings.declare(
    "node", "node_{id}", "the name of a node, by its number", verify=xmpp.accounts.is_template
)
subscribers = settings.declare(
    "subscribers",
    10,
    "users of each node",
    verify=lambda count: 1 <= count <= 10_000 or (False, "must be 1 to 10000"),
)
publishers: settings.Setting[str] = settings.declare(
    "publishers", "all", "who publishes: all, or one at each node", verify=["all", "one"]
)
interval = settings.declare(
    "interval", "5s", "between two items of a publisher", type=settings.duration, update=True
)
size = settings.declare("size", 100, "characters of an item", unit="characters")
linger = settings.declare(
    "linger", "2s", "how long a user listens after its last item", type=settings.duration
)

published = metrics.counter("pubsub items published")

CONFIG: xmpp.pubsub.Options = {
    "pubsub#publish_model": "open",
    "pubsub#deliver_payloads": True,
    "pubsub#max_items": 10,
}


def init() -> None:
    pass


def start(user_id: int) -> None:
    number, place = divmod(user_id - 1, subscribers.value)
    name = node.value.format(id=number + 1)
    source, ear = xmpp.fanout.Source(), xmpp.fanout.Ear("pubsub event", "pubsub events lost")
    with accounts.client(user_id, inbox=xmpp.Inbox(0)) as client:
        client.on(xmpp.pubsub.event(service.value, name), ear.hear)
        xmpp.pubsub.ensure(client, service.value, name, CONFIG)
        xmpp.pubsub.subscribe(client, service.value, name)
        publishes = publishers.value == "all" or place == 0
        wait = random.uniform(0, interval.value)  # else all would publish in the same moment
        while not user.leaving(within=wait):
            if publishes:
                entry = f"<entry xmlns='urn:amoc:entry:0'>{'x' * size.value}{source.next()}</entry>"
                xmpp.pubsub.publish(client, service.value, name, entry)
                published.add()
            wait = interval.value
        user.sleep(linger.value)
        xmpp.pubsub.unsubscribe(client, service.value, name)
