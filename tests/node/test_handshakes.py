"""Complaints about failed handshakes with a master."""

from collections.abc import Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from amoc_gevent import clock
from amoc_gevent.node import handshakes
from amoc_gevent.node.handshakes import HandshakeWatch, mismatch

NO_KEYS = mismatch("mismatch", keyed=True)
NOT_ALLOWED = mismatch("refused", keyed=True)


class Played:
    """A socket whose handshakes end as scripted: (time, how)."""

    def __init__(self, ends: list[tuple[float, str]], now: SimpleNamespace) -> None:
        self._ends: Iterator[tuple[float, str]] = iter(ends)
        self._now = now
        self.tries = 0

    def handshake(self) -> str:
        at, how = next(self._ends, (0.0, "over"))
        if how == "over":
            raise EOFError
        self._now.s = at
        return how

    def reconnect(self) -> None:
        self.tries += 1


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([(0, "refused"), (1, "refused")], []),  # the master may be starting
        ([(0, "refused"), (2, "refused"), (3, "done")], [("", NOT_ALLOWED), (NOT_ALLOWED, "")]),
        ([(0, "mismatch")], [("", NO_KEYS)]),
        (  # a cut-off connection, soon after a mismatch, is the same mismatch
            [(0, "mismatch"), (2, "refused"), (4, "mismatch"), (6, "refused")],
            [("", NO_KEYS), (NO_KEYS, NO_KEYS), (NO_KEYS, NO_KEYS), (NO_KEYS, NO_KEYS)],
        ),
        (
            [(0, "mismatch"), (9, "refused")],
            [("", NO_KEYS), (NO_KEYS, NOT_ALLOWED)],
        ),  # the master has keys now
        ([(0, "mismatch"), (1, "done"), (2, "refused")], [("", NO_KEYS), (NO_KEYS, "")]),
    ],
)
def test_problems_of_handshakes(
    monkeypatch: pytest.MonkeyPatch, ends: list[tuple[float, str]], expected: list[tuple[str, str]]
) -> None:
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr(clock, "monotonic", lambda: now.s)
    monkeypatch.setattr(handshakes.gevent, "sleep", lambda _seconds: None)
    sockets: Any = Played(ends, now)
    problems = HandshakeWatch(sockets, sockets, keyed=True).problems()
    assert [*islice(problems, len(expected))] == expected
    with pytest.raises(EOFError):  # no further problem
        next(problems)
