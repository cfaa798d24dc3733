"""The state that an output keeps for the next master, such as data not delivered yet.

It is stored in the same transaction as the figures that it was made from.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable


class StateChanges(NamedTuple):
    """Changes to stored state: bytes to `put` by key, and keys to `drop`."""

    put: Mapping[str, bytes]
    drop: Sequence[str]


NO_CHANGES = StateChanges({}, ())


class StateSource(Protocol):
    """A source of state changes, stored in the same transaction as the run."""

    def pending(self, *, full: bool = False) -> StateChanges:
        """Return the changes since the last ones that were stored.

        With `full`, return the whole state: it goes to a store that has none of it.
        """

    def stored(self) -> None:
        """Note that the changes last returned by `pending` are stored."""


@runtime_checkable
class DurableOutput(StateSource, Protocol):
    """An output whose undelivered data survives the death of the master."""

    def restore(self, stored: Mapping[str, bytes]) -> None:
        """Restore the state, by key, that an earlier master stored. Called once, even if empty."""


class DiscardedState:
    """Stands in for a missing output: it drops `keys`, the state an earlier output left."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = (*keys,)

    def pending(self, *, full: bool = False) -> StateChanges:  # noqa: ARG002  # the protocol's
        """Return a change that drops the keys."""
        return StateChanges({}, self._keys)

    def stored(self) -> None:
        """Note that the keys are dropped."""
        self._keys = ()
