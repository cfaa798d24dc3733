"""Whether the users that a server hears are each one at a time, and whether all of it arrived.

A user's life is one execution of its `start`. Each request says whose life it is of, the how
manieth of that life it is, from 1, and when it was sent. From this follows, for a target that
knows nothing else of the load tester:

- **doubled**: the same request of the same life came again;
- **missing**: a life's request did not come, though a later one of it did;
- **overlapping**: it was sent while another life of the same user was being lived. Lives last from
  the first to the last `sent` of theirs that came, so a request that the network delayed past the
  begin of the next life is **late**, and nothing worse.
"""

from dataclasses import dataclass, field
from typing import Any

LIVES_MAX = 16
"""Of one user, the latest, that are told apart; one that is older counts as a new one."""
MISSING_MAX = 256
"""Of one life, that are known by number; more are counted only."""
FINDINGS_MAX = 20


@dataclass(slots=True)
class _Life:
    """One life, from `begin` to `last`.

    Of the numbers below `highest` those in `missing` were not seen, nor `unnamed` others.
    """

    name: str
    begin: float
    last: float
    highest: int = 0
    missing: set[int] = field(default_factory=set)
    unnamed: int = 0


@dataclass(slots=True)
class _User:
    """The lives of one user by name, in the order in which they were first heard of.

    The last request came at `seen` from `client`.
    """

    latest: _Life
    seen: float
    client: str
    lives: dict[str, _Life] = field(default_factory=dict)


class Lives:
    """All users that were heard since the start or the last reset."""

    def __init__(self) -> None:
        self._users: dict[int, _User] = {}
        self.reset()

    def reset(self) -> None:
        """Begin again, as if nobody had been heard of."""
        self._users.clear()
        self._requests = self._lives = 0
        self._doubled = self._missing = self._overlapping = self._late = 0
        self._findings: list[str] = []

    def take(
        self, user: int, life: str, number: int, sent: float, now: float, client: str = ""
    ) -> None:
        """Note request `number` (from 1) of a user's life, from the address `client`.

        `sent` (s) is when it was sent, on a clock that all who send share, else when it came;
        `now` (s) is when it came, on the clock that `seen_since` is asked by.
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
            if found is known.latest:  # what comes late does not tell where the user is now
                known.seen, known.client = now, client
        if number == found.highest + 1:
            found.highest = number
        else:
            self._out_of_order(user, found, number)

    def _other(self, user: int, known: _User, name: str, sent: float) -> _Life:
        """Return a life that is not its user's latest: one that begins, or an earlier one."""
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
        """Count a request that was sent within another life, or late."""
        for other in known.lives.values():
            if other is life:
                continue
            newer = other.begin > life.begin
            if (newer and sent > other.begin) or other.begin <= sent < other.last:
                self._overlapping += 1
                self._find(
                    f"user {user}: life {life.name} sent at {sent:.3f}, while life {other.name} "
                    f"was lived, from {other.begin:.3f} to {other.last:.3f}"
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
        """Return the users of whom something came at `moment` or later, and their last clients."""
        seen = ((user, known) for user, known in self._users.items() if known.seen >= moment)
        return {user: known.client for user, known in seen}

    def as_dict(self) -> dict[str, Any]:
        """Return what was counted, and the first `findings` in words."""
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
