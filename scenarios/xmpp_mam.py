"""Users write to a partner and read their archive page by page: time per page, completeness.

In each iteration a user writes its messages, then reads its archive (XEP-0313) from the beginning
of the iteration until all of them are there. Operations: "mam page", and "archive complete", from
the last message to the end of the read that finds all. Users 1 and 2 are partners, 3 and 4, and so
on.
"""

import secrets

from amoc_gevent import metrics, settings, user, xmpp

accounts = xmpp.accounts.declare()
messages = settings.declare(
    "messages",
    20,
    "messages that a user writes in an iteration",
    verify=lambda count: 1 <= count <= 100_000 or (False, "must be 1 to 100000"),
)
page = settings.declare(
    "page",
    10,
    "messages per page",
    verify=lambda count: 1 <= count <= 1000 or (False, "must be 1 to 1000"),
)
size = settings.declare("size", 100, "length of a message", unit="characters")
looks = settings.declare(
    "looks",
    50,
    "most reads of the archive until it is complete, 100 ms apart",
    verify=lambda count: 1 <= count <= 10_000 or (False, "must be 1 to 10000"),
)

written = metrics.counter("messages written")
archived = metrics.counter("messages archived")


def init() -> None:
    pass


def start(user_id: int) -> None:
    partner = accounts.jid(user_id + 1 if user_id % 2 else user_id - 1)
    with accounts.client(user_id, inbox=xmpp.Inbox(0)) as client:
        which = xmpp.mam.Filter(with_=partner)
        after = xmpp.mam.page(client, which, size=1, before="").last
        mark = secrets.token_hex(8)  # the partner's messages are in the archive too
        for number in range(messages.value):
            client.send_message(partner, f"{mark} {number} ".ljust(size.value, "x"))
            written.add()
        with metrics.operation("archive complete") as operation:
            found = read(client, which, after, mark)
            for _ in range(looks.value - 1):
                if found == messages.value:
                    break
                user.sleep(0.1)
                found = read(client, which, after, mark)
            archived.add(found)
            if found != messages.value:
                operation.fail(f"{'more' if found > messages.value else 'fewer'} than were written")


def read(client: xmpp.Client, which: xmpp.mam.Filter, after: str | None, mark: str) -> int:
    """Read the archive after `after` and return the number of messages that begin with `mark`."""
    count = 0
    while True:
        found = xmpp.mam.page(client, which, size=page.value, after=after)
        count += sum((one.message.body or "").startswith(mark) for one in found.messages)
        if found.complete or not found.messages:
            return count
        after = found.last
