"""Users join rooms and talk: time to join, time to delivery at each occupant, lost messages.

Users with consecutive ids share a room, which the first one to join creates. Operations:
"muc join", "xmpp message delivery" (to each occupant, the speaker included) and "muc leave".
"""

import random

from amoc_gevent import metrics, settings, user, xmpp

accounts = xmpp.accounts.declare()
service = settings.declare("service", "conference.localhost", "JID of the room service")
room = settings.declare(
    "room", "room_{id}", "name of a room; {id} is its number", verify=xmpp.accounts.is_template
)
occupants = settings.declare(
    "occupants",
    10,
    "users in each room",
    verify=lambda count: 1 <= count <= 10_000 or (False, "must be 1 to 10000"),
)
speakers: settings.Setting[str] = settings.declare(
    "speakers", "all", "speakers in each room: all occupants, or one", verify=["all", "one"]
)
interval = settings.declare(
    "interval", "5s", "time between two messages of a speaker", type=settings.duration, update=True
)
size = settings.declare("size", 100, "length of a message", unit="characters")
linger = settings.declare(
    "linger", "2s", "how long a user listens after its last message", type=settings.duration
)

said = metrics.counter("muc messages said")


def init() -> None:
    pass


def start(user_id: int) -> None:
    number, place = divmod(user_id - 1, occupants.value)
    jid = f"{room.value.format(id=number + 1)}@{service.value}"
    with accounts.client(user_id, inbox=xmpp.Inbox(0)) as client:
        entered = xmpp.muc.join(client, jid, f"user_{user_id}")
        speaks = speakers.value == "all" or place == 0
        wait = random.uniform(0, interval.value)  # spread the messages over the interval
        while not user.leaving(within=wait):
            if speaks:
                entered.send("x" * size.value, tracked=True)
                said.add()
            wait = interval.value
        client.settle(linger.value)
        entered.leave()
