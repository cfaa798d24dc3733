"""Counts of messages between users on both sides, and the balance of the two."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Flow:
    """Message counts of one pair. Merging adds the counts of sender and receiver.

    The sender numbers its messages from 1. `sent` is the number of its messages; it no longer waits
    for those up to number `settled`. `delivered` counts the different messages received, `highest`
    is their highest number. `duplicated` messages came again, `reordered` ones came after a later
    message, `delayed` ones had been stored for the receiver, `bounced` ones came back.
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
        """Add the counts in `other` for the same pair."""
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
    """Return the sums over all pairs as counters, without those that are 0."""
    found = {}
    kept = tuple(flows)
    for name in COUNTED:
        if times := sum(getattr(flow, name) for flow in kept):
            found[f"messages {name}"] = times
    return found


@dataclass(frozen=True, slots=True)
class Balance:
    """What became of the messages of one or more pairs. `sent` is the sum of the next three fields.

    A message is lost if a later one of its pair arrived and it did not (RFC 6120 10.1: a server
    keeps their order), if it bounced, or if its sender waited for it in vain. Until then it is on
    the way.
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
        """Whether every message was delivered once and in order."""
        return self.delivered == self.sent and not self.duplicated and not self.reordered


def balance(flow: Flow) -> Balance:
    """Return the balance of one pair.

    A received message was sent, even if the sender's worker died before it reported that.
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
"""Sender and recipient as bare JIDs; a recipient in a room is "room/recipient"."""


def balances(flows: Mapping[str, Flow]) -> tuple[dict[Pair, Balance], int]:
    """Return the balance of each pair, and the number of stray messages, not sent in this run.

    The keys are those of a snapshot. Stray messages come from an earlier run: the server stored
    them.
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
    """Return the sum of all balances."""
    return sum(balances, Balance())


def key_of(sender: str, to: str, epoch: str) -> str:
    """Return the key of a pair's flow in a snapshot. Each `epoch` numbers messages from 1."""
    return f"{sender} {to} {epoch}"
