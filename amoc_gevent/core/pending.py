"""What an output leaves to the next master, stored together with the figures it was made from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol


class Pending(NamedTuple):
    """Changes to what an output leaves: bytes to `put` by their keys, and keys to `drop`."""

    put: Mapping[str, bytes]
    drop: Sequence[str]


NOTHING = Pending({}, ())


class Output(Protocol):
    """An output that must not lose what it has not delivered when the master dies."""

    def pending(self, *, anew: bool = False) -> Pending:
        """Return all changes since the ones that were last stored.

        `anew`: return all that there is, as nothing of it is stored where it goes now.
        """

    def stored(self) -> None:
        """Note that the changes which `pending` returned last are stored."""


class Nothing:
    """In place of an output: nothing is pending, and what an earlier one left under `keys` goes."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = (*keys,)

    def pending(self, *, anew: bool = False) -> Pending:  # noqa: ARG002  # an output's
        """Return that the keys are to be dropped."""
        return Pending({}, self._keys)

    def stored(self) -> None:
        """Note that they are."""
        self._keys = ()
