"""Check that no user runs twice at once and that all of its requests arrive.

An iteration is one call of a user's `start`. Each request carries its user, its iteration, its
sequence number in that iteration (from 1) and the time it was sent. From this, a target that knows
nothing else about the load tester can find these requests:

- **doubled**: a request of an iteration that arrived before;
- **missing**: a request that did not arrive although a later one of the same iteration did;
- **overlapping**: a request sent during another iteration of the same user. An iteration lasts from
  the first to the last `sent` of its requests that arrived;
- **late**: a request that the network delayed past the beginning of the next iteration. This is
  harmless.
"""

from dataclasses import dataclass, field
from typing import Any

ITERATIONS_MAX = 16
"""The latest iterations kept per user. A request of an older one counts as a new iteration."""
MISSING_MAX = 256
"""Missing requests kept by number per iteration. Others are only counted."""
FINDINGS_MAX = 20


@dataclass(slots=True)
class _Iteration:
    """One iteration, from `begin` to `last`.

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
    """The iterations of one user by name, ordered by the arrival of their first request.

    The last request of the latest iteration came at `seen` from `client`.
    """

    latest: _Iteration
    seen: float
    client: str
    iterations: dict[str, _Iteration] = field(default_factory=dict)


class IterationCheck:
    """All users with requests since the start or the last reset."""

    def __init__(self) -> None:
        self._users: dict[int, _User] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all users and counts."""
        self._users.clear()
        self._requests = self._iterations = 0
        self._doubled = self._missing = self._overlapping = self._late = 0
        self._findings: list[str] = []

    def take(
        self, user: int, iteration: str, number: int, sent: float, now: float, client: str = ""
    ) -> None:
        """Record request `number` (from 1) of a user's iteration, from the address `client`.

        `sent` (s) is the time of sending on a clock that all senders share, or else the time of
        arrival. `now` (s) is the time of arrival on the clock of `seen_since`.
        """
        self._requests += 1
        known = self._users.get(user)
        if known is None:
            found = _Iteration(iteration, sent, sent)
            self._users[user] = _User(found, now, client, {iteration: found})
            self._iterations += 1
        else:
            found = known.latest
            if found.name == iteration:
                found.last = max(found.last, sent)
            else:
                found = self._other(user, known, iteration, sent)
            if found is known.latest:  # an older iteration says nothing about where the user is now
                known.seen, known.client = now, client
        if number == found.highest + 1:
            found.highest = number
        else:
            self._out_of_order(user, found, number)

    def _other(self, user: int, known: _User, name: str, sent: float) -> _Iteration:
        """Return an iteration that is not the user's latest: a new or an earlier one."""
        iteration = known.iterations.get(name) or _Iteration(name, sent, sent)
        self._compare(user, known, iteration, sent)
        if name in known.iterations:
            iteration.begin, iteration.last = min(iteration.begin, sent), max(iteration.last, sent)
        else:
            self._iterations += 1
            known.iterations[name] = iteration
            if len(known.iterations) > ITERATIONS_MAX:
                del known.iterations[next(iter(known.iterations))]
        if iteration.begin >= known.latest.begin:
            known.latest = iteration
        return iteration

    def _compare(self, user: int, known: _User, iteration: _Iteration, sent: float) -> None:
        """Count a request if it is overlapping or late."""
        for other in known.iterations.values():
            if other is iteration:
                continue
            newer = other.begin > iteration.begin
            if (newer and sent > other.begin) or other.begin <= sent < other.last:
                self._overlapping += 1
                self._find(
                    f"user {user}: iteration {iteration.name} sent at {sent:.3f}, during iteration "
                    f"{other.name} from {other.begin:.3f} to {other.last:.3f}"
                )
                return
        if known.latest.begin > sent:
            self._late += 1

    def _out_of_order(self, user: int, iteration: _Iteration, number: int) -> None:
        if number > iteration.highest:
            between = range(iteration.highest + 1, number)
            self._missing += len(between)
            named = between[: MISSING_MAX - len(iteration.missing)]
            iteration.missing.update(named)
            iteration.unnamed += len(between) - len(named)
            iteration.highest = number
        elif number in iteration.missing:
            iteration.missing.discard(number)
            self._missing -= 1
        elif iteration.unnamed:
            iteration.unnamed -= 1
            self._missing -= 1
        else:
            self._doubled += 1
            self._find(f"user {user}: iteration {iteration.name} sent its request {number} twice")

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
            "lives": self._iterations,
            "doubled": self._doubled,
            "missing": self._missing,
            "overlapping": self._overlapping,
            "late": self._late,
            "findings": list(self._findings),
        }
