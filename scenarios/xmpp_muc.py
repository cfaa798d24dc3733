"""Users meet in rooms and talk: the time to get in, to be heard by each occupant, what is lost.

So many ids in a row share a room, which the first of them makes. Operations: "muc join",
"xmpp message delivery" (to each occupant, the speaker among them) and "muc leave".
"""

import random

from amoc_gevent import metrics, settings, user, xmpp

accounts = xmpp.accounts.declare()
service = settings.declare("service", "conference.localhost", "the JID of the service for rooms")
room = settings.declare(
    "room", "room_{id}", "the name of a room, by its number", verify=xmpp.accounts.is_template
)
occupants = settings.declare(
    "occupants",
    10,
    "users in each room",
    verify=lambda count: 1 <= count <= 10_000 or (False, "must be 1 to 10000"),
)
speakers: settings.Setting[str] = settings.declare(
    "speakers", "all", "who speaks: all occupants, or one in each room", verify=["all", "one"]
)
interval = settings.declare(
    "interval", "5s", "between two messages of a speaker", type=settings.duration, update=True
)
size = settings.declare("size", 100, "characters of a message", unit="characters")
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
        wait = random.uniform(0, interval.value)  # else all would speak in the same moment
        while not user.leaving(within=wait):
            if speaks:
                entered.send("x" * size.value, tracked=True)
                said.add()
            wait = interval.value
        client.settle(linger.value)
        entered.leave()
