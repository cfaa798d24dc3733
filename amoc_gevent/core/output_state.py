"""What an output leaves to the next master, stored together with the figures it was made from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable


class StateChanges(NamedTuple):
    """Changes to what an output leaves: bytes to `put` by their keys, and keys to `drop`."""

    put: Mapping[str, bytes]
    drop: Sequence[str]


NO_CHANGES = StateChanges({}, ())


class StateSource(Protocol):
    """A source of changes that are stored with the run, in the same transaction."""

    def pending(self, *, anew: bool = False) -> StateChanges:
        """Return all changes since the last stored ones.

        `anew`: return all that there is, as nothing of it is stored where it goes now.
        """

    def stored(self) -> None:
        """Note that the changes which `pending` returned last are stored."""


@runtime_checkable
class DurableOutput(StateSource, Protocol):
    """An output that keeps undelivered data when the master dies."""

    def restore(self, stored: Mapping[str, bytes]) -> None:
        """Go on with what an earlier master stored, by its keys; called once, even if empty."""


class DiscardedState:
    """In place of an output: nothing is pending, and what an earlier one left under `keys` goes."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = (*keys,)

    def pending(self, *, anew: bool = False) -> StateChanges:  # noqa: ARG002  # an output's
        """Return that the keys are to be dropped."""
        return StateChanges({}, self._keys)

    def stored(self) -> None:
        """Note that they are."""
        self._keys = ()
