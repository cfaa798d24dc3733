"""Messages from one user to another: what either side counted, and how the two balance."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Flow:
    """What was counted of the messages of one pair; merging adds what both sides counted.

    The sender numbers its messages from 1: it has `sent` so many, and waited in vain for those up
    to `settled`. The receiver has `delivered` different ones, the `highest` being of that number.
    `duplicated` came again, `reordered` came after a later one, `delayed` had been stored for the
    receiver, `bounced` came back.
    """

    sent: int = 0
    settled: int = 0
    delivered: int = 0
    highest: int = 0
    duplicated: int = 0
    reordered: int = 0
    delayed: int = 0
    bounced: int = 0

    def merge(self, other: "Flow") -> None:
        """Add what `other` counted of the same pair."""
        self.sent += other.sent
        self.delivered += other.delivered
        self.duplicated += other.duplicated
        self.reordered += other.reordered
        self.delayed += other.delayed
        self.bounced += other.bounced
        self.settled = max(self.settled, other.settled)
        self.highest = max(self.highest, other.highest)


COUNTED = ("sent", "delivered", "duplicated", "reordered", "delayed", "bounced")


def counters(flows: Iterable[Flow]) -> dict[str, int]:
    """Return, as counters, what was counted of all pairs together; those of 0 are left out."""
    found = {}
    kept = tuple(flows)
    for name in COUNTED:
        if times := sum(getattr(flow, name) for flow in kept):
            found[f"messages {name}"] = times
    return found


@dataclass(frozen=True, slots=True)
class Balance:
    """Where the messages of a pair, or of many, are: `sent` is the sum of the next three.

    A message is lost when a later one of its pair has arrived and it has not (RFC 6120 10.1: a
    server keeps their order), when it came back, or when its sender waited for it and it did not
    come. Else it is on the way.
    """

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    on_the_way: int = 0
    duplicated: int = 0
    reordered: int = 0
    delayed: int = 0
    bounced: int = 0

    def __add__(self, other: "Balance") -> "Balance":
        return Balance(*(getattr(self, f) + getattr(other, f) for f in Balance.__slots__))

    @property
    def even(self) -> bool:
        """Whether each message was delivered, once and in order."""
        return self.delivered == self.sent and not self.duplicated and not self.reordered


def balance(flow: Flow) -> Balance:
    """Return where the messages of one pair are.

    What a receiver has was sent, even where the sender's worker died before it could say so.
    """
    sent = max(flow.sent, flow.highest)
    missing = sent - flow.delivered
    passed = max(flow.highest, flow.settled) - flow.delivered
    lost = min(missing, max(passed, flow.bounced))
    return Balance(
        sent=sent,
        delivered=flow.delivered,
        lost=lost,
        on_the_way=missing - lost,
        duplicated=flow.duplicated,
        reordered=flow.reordered,
        delayed=flow.delayed,
        bounced=flow.bounced,
    )


Pair = tuple[str, str]
"""A sender and a recipient, bare JIDs; a recipient in a room is "room/recipient"."""


def balances(flows: Mapping[str, Flow]) -> tuple[dict[Pair, Balance], int]:
    """Return the balance of each pair, and how many messages came that nobody in the run sent.

    The keys are those of a snapshot. Messages of which no sender has told were stored by the server
    when an earlier run wrote them.
    """
    found: dict[Pair, Balance] = {}
    strays = 0
    for key, flow in flows.items():
        sender, _, rest = key.partition(" ")
        to = rest.partition(" ")[0]
        if flow.sent:
            found[sender, to] = found.get((sender, to), Balance()) + balance(flow)
        else:
            strays += flow.delivered
    return found, strays


def total_balance(balances: Iterable[Balance]) -> Balance:
    """Return where all messages are."""
    return sum(balances, Balance())


def key_of(sender: str, to: str, epoch: str) -> str:
    """Return the key under which a snapshot has a pair's flow; an `epoch` numbers from 1 again."""
    return f"{sender} {to} {epoch}"
