"""Counts of the demo XMPP server: messages by pair and in total, logins, connections."""

from typing import Any

PAIRS_MAX = 1_000_000
FIELDS = (
    "received",
    "delivered",
    "dropped",
    "cut",
    "malformed",
    "duplicated",
    "reordered",
    "undeliverable",
)


class Pair:
    """Counts of the messages from one user to another.

    received + duplicated = delivered + dropped + cut + malformed + undeliverable + on the way.
    On the way are delayed and held messages. Reordered messages count as delivered too.
    """

    __slots__ = (*FIELDS, "delayed", "held")

    received: int
    delivered: int
    dropped: int
    cut: int
    malformed: int
    duplicated: int
    reordered: int
    undeliverable: int

    def __init__(self) -> None:
        self.delayed = 0
        self.held: Any = None
        self.clear()

    def clear(self) -> None:
        """Reset all counts to 0."""
        for name in FIELDS:
            setattr(self, name, 0)

    @property
    def on_the_way(self) -> int:
        """Messages that are delayed or held now."""
        return self.delayed + (self.held is not None)

    def as_dict(self) -> dict[str, int]:
        """Return all counts by name."""
        return {
            **{name: getattr(self, name) for name in FIELDS},
            "on_the_way": self.on_the_way,
        }


class XmppCounts:
    """Counts since the start or the last reset.

    `connections` accepted, `logins` with a bound resource, `refused` authentications, `registered`
    accounts, `iqs` and `presences` received. `steps` counts faults in logins by kind. The keys of
    `pairs` are the bare JIDs of sender and recipient.
    """

    PLAIN = ("connections", "logins", "refused", "registered", "iqs", "presences")

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str], Pair] = {}
        self.connections = self.logins = self.refused = self.registered = 0
        self.iqs = self.presences = 0
        self.steps = {"silent": 0, "cut": 0, "malformed": 0}

    def pair(self, sender: str, recipient: str) -> Pair:
        """Return the counts of a pair, always the same object.

        Pairs beyond a million are counted as one, from "" to "".
        """
        found = self.pairs.get((sender, recipient))
        if found is None:
            key = (sender, recipient) if len(self.pairs) < PAIRS_MAX else ("", "")
            found = self.pairs.setdefault(key, Pair())
        return found

    def reset(self) -> None:
        """Reset all counts to 0."""
        for name in self.PLAIN:
            setattr(self, name, 0)
        self.steps = dict.fromkeys(self.steps, 0)
        for pair in self.pairs.values():
            pair.clear()

    def as_dict(self) -> dict[str, Any]:
        """Return the totals: plain counts, `messages` by outcome, and `login_faults` by kind."""
        messages = dict.fromkeys((*FIELDS, "on_the_way"), 0)
        for pair in self.pairs.values():
            for name, value in pair.as_dict().items():
                messages[name] += value
        plain = {name: getattr(self, name) for name in self.PLAIN}
        return {**plain, "messages": messages, "login_faults": dict(self.steps)}

    def by_pair(self) -> list[dict[str, Any]]:
        """Return each pair that has exchanged messages: `from`, `to` and its counts."""
        return [
            {"from": sender, "to": recipient, **pair.as_dict()}
            for (sender, recipient), pair in sorted(self.pairs.items())
            if pair.received or pair.on_the_way
        ]
