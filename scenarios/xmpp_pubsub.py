"""Users publish to a shared node and receive its events: time to publish, time to each event.

Users with consecutive ids share a node (XEP-0060). The first one to arrive creates it, which the
service must allow. Operations: "pubsub publish" until the service confirms the item, and "pubsub
event" until a subscriber gets the event. "pubsub events lost" counts events that did not reach a
subscriber.
"""

import random

from amoc_gevent import metrics, settings, user, xmpp

accounts = xmpp.accounts.declare()
service = settings.declare("service", "pubsub.localhost", "JID of the PubSub service")
node = settings.declare(
    "node", "node_{id}", "name of a node; {id} is its number", verify=xmpp.accounts.is_template
)
subscribers = settings.declare(
    "subscribers",
    10,
    "users of each node",
    verify=lambda count: 1 <= count <= 10_000 or (False, "must be 1 to 10000"),
)
publishers: settings.Setting[str] = settings.declare(
    "publishers", "all", "publishers at each node: all users, or one", verify=["all", "one"]
)
interval = settings.declare(
    "interval", "5s", "time between two items of a publisher", type=settings.duration, update=True
)
size = settings.declare("size", 100, "length of an item", unit="characters")
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
    source = xmpp.fanout.Source()
    receiver = xmpp.fanout.Receiver("pubsub event", "pubsub events lost")
    with accounts.client(user_id, inbox=xmpp.Inbox(0)) as client:
        client.on(xmpp.pubsub.event(service.value, name), receiver.record)
        xmpp.pubsub.ensure(client, service.value, name, CONFIG)
        xmpp.pubsub.subscribe(client, service.value, name)
        publishes = publishers.value == "all" or place == 0
        wait = random.uniform(0, interval.value)  # spread the items over the interval
        while not user.leaving(within=wait):
            if publishes:
                entry = f"<entry xmlns='urn:amoc:entry:0'>{'x' * size.value}{source.next()}</entry>"
                xmpp.pubsub.publish(client, service.value, name, entry)
                published.add()
            wait = interval.value
        user.sleep(linger.value)
        xmpp.pubsub.unsubscribe(client, service.value, name)
