"""Check that no user runs twice at once and that all of its requests arrive.

A life is one call of a user's `start`. Each request carries its user, its life, its sequence number
in that life (from 1) and the time it was sent. A target that knows nothing else about the load
tester can find from this:

- **doubled**: a request of a life that arrived before;
- **missing**: a request that did not arrive although a later one of the same life did;
- **overlapping**: a request sent during another life of the same user. A life lasts from the first
  to the last `sent` of its requests that arrived;
- **late**: a request that the network delayed past the beginning of the next life. This is
  harmless.
"""

from dataclasses import dataclass, field
from typing import Any

LIVES_MAX = 16
"""Lives kept per user, the latest ones. A request of an older life counts as a new life."""
MISSING_MAX = 256
"""Missing requests kept by number per life. Others are only counted."""
FINDINGS_MAX = 20


@dataclass(slots=True)
class _Life:
    """One life, from `begin` to `last`.

    Below `highest`, the numbers in `missing` and `unnamed` other numbers have not arrived.
    """

    name: str
    begin: float
    last: float
    highest: int = 0
    missing: set[int] = field(default_factory=set)
    unnamed: int = 0


@dataclass(slots=True)
class _User:
    """The lives of one user by name, ordered by the arrival of their first request.

    The last request of the latest life came at `seen` from `client`.
    """

    latest: _Life
    seen: float
    client: str
    lives: dict[str, _Life] = field(default_factory=dict)


class Lives:
    """All users with requests since the start or the last reset."""

    def __init__(self) -> None:
        self._users: dict[int, _User] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all users and counts."""
        self._users.clear()
        self._requests = self._lives = 0
        self._doubled = self._missing = self._overlapping = self._late = 0
        self._findings: list[str] = []

    def take(
        self, user: int, life: str, number: int, sent: float, now: float, client: str = ""
    ) -> None:
        """Record request `number` (from 1) of a user's life, from the address `client`.

        `sent` (s) is the time of sending on a clock that all senders share, or else the time of
        arrival. `now` (s) is the time of arrival on the clock of `seen_since`.
        """
        self._requests += 1
        known = self._users.get(user)
        if known is None:
            found = _Life(life, sent, sent)
            self._users[user] = _User(found, now, client, {life: found})
            self._lives += 1
        else:
            found = known.latest
            if found.name == life:
                found.last = max(found.last, sent)
            else:
                found = self._other(user, known, life, sent)
            if found is known.latest:  # an older life says nothing about where the user is now
                known.seen, known.client = now, client
        if number == found.highest + 1:
            found.highest = number
        else:
            self._out_of_order(user, found, number)

    def _other(self, user: int, known: _User, name: str, sent: float) -> _Life:
        """Return a life that is not the user's latest: a new or an earlier one."""
        life = known.lives.get(name) or _Life(name, sent, sent)
        self._compare(user, known, life, sent)
        if name in known.lives:
            life.begin, life.last = min(life.begin, sent), max(life.last, sent)
        else:
            self._lives += 1
            known.lives[name] = life
            if len(known.lives) > LIVES_MAX:
                del known.lives[next(iter(known.lives))]
        if life.begin >= known.latest.begin:
            known.latest = life
        return life

    def _compare(self, user: int, known: _User, life: _Life, sent: float) -> None:
        """Count a request if it is overlapping or late."""
        for other in known.lives.values():
            if other is life:
                continue
            newer = other.begin > life.begin
            if (newer and sent > other.begin) or other.begin <= sent < other.last:
                self._overlapping += 1
                self._find(
                    f"user {user}: life {life.name} sent at {sent:.3f}, during life {other.name} "
                    f"from {other.begin:.3f} to {other.last:.3f}"
                )
                return
        if known.latest.begin > sent:
            self._late += 1

    def _out_of_order(self, user: int, life: _Life, number: int) -> None:
        if number > life.highest:
            between = range(life.highest + 1, number)
            self._missing += len(between)
            named = between[: MISSING_MAX - len(life.missing)]
            life.missing.update(named)
            life.unnamed += len(between) - len(named)
            life.highest = number
        elif number in life.missing:
            life.missing.discard(number)
            self._missing -= 1
        elif life.unnamed:
            life.unnamed -= 1
            self._missing -= 1
        else:
            self._doubled += 1
            self._find(f"user {user}: life {life.name} sent its request {number} twice")

    def _find(self, text: str) -> None:
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(text)

    def seen_since(self, moment: float) -> dict[int, str]:
        """Return each user with a request at `moment` or later, and its last client address."""
        seen = ((user, known) for user, known in self._users.items() if known.seen >= moment)
        return {user: known.client for user, known in seen}

    def as_dict(self) -> dict[str, Any]:
        """Return the counts, and descriptions of the first `findings`."""
        return {
            "requests": self._requests,
            "users": len(self._users),
            "lives": self._lives,
            "doubled": self._doubled,
            "missing": self._missing,
            "overlapping": self._overlapping,
            "late": self._late,
            "findings": list(self._findings),
        }
