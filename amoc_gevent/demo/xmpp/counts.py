"""What the demo XMPP server has done: messages by pair and in sum, logins, connections."""

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
    """Messages from one user to another.

    received + duplicated = delivered + dropped + cut + malformed + undeliverable + on the way,
    where on the way is what is delayed or held; reordered ones are delivered ones, too.
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
        """Count from nought again."""
        for name in FIELDS:
            setattr(self, name, 0)

    @property
    def on_the_way(self) -> int:
        """Messages that are delayed or held back just now."""
        return self.delayed + (self.held is not None)

    def as_dict(self) -> dict[str, int]:
        """Return all counts by name."""
        return {
            **{name: getattr(self, name) for name in FIELDS},
            "on_the_way": self.on_the_way,
        }


class XmppCounts:
    """Counts since the start or the last reset.

    `connections` accepted, `logins` that got to a bound resource, `refused` authentications,
    `registered` accounts, `iqs` and `presences` received, `steps`: faults done in a login by kind.
    Pairs are by bare JID, sender first.
    """

    PLAIN = ("connections", "logins", "refused", "registered", "iqs", "presences")

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str], Pair] = {}
        self.connections = self.logins = self.refused = self.registered = 0
        self.iqs = self.presences = 0
        self.steps = {"silent": 0, "cut": 0, "malformed": 0}

    def pair(self, sender: str, recipient: str) -> Pair:
        """Return the counts of a pair; they stay the same ones for good.

        Beyond a million pairs, all others are counted as one, from "" to "".
        """
        found = self.pairs.get((sender, recipient))
        if found is None:
            key = (sender, recipient) if len(self.pairs) < PAIRS_MAX else ("", "")
            found = self.pairs.setdefault(key, Pair())
        return found

    def reset(self) -> None:
        """Count from nought again."""
        for name in self.PLAIN:
            setattr(self, name, 0)
        self.steps = dict.fromkeys(self.steps, 0)
        for pair in self.pairs.values():
            pair.clear()

    def as_dict(self) -> dict[str, Any]:
        """Return all in sum: the plain ones, `messages` (by what became of them) and `steps`."""
        messages = dict.fromkeys((*FIELDS, "on_the_way"), 0)
        for pair in self.pairs.values():
            for name, value in pair.as_dict().items():
                messages[name] += value
        plain = {name: getattr(self, name) for name in self.PLAIN}
        return {**plain, "messages": messages, "login_faults": dict(self.steps)}

    def by_pair(self) -> list[dict[str, Any]]:
        """Return the pairs that have exchanged messages: `from`, `to` and their counts."""
        return [
            {"from": sender, "to": recipient, **pair.as_dict()}
            for (sender, recipient), pair in sorted(self.pairs.items())
            if pair.received or pair.on_the_way
        ]
