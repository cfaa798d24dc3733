"""The demo HTTP server on a host of its own, and what it found of the users that load it."""

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from amoc_gevent import clock
from tests.net.network import Host
from tests.servers import fetch, wait_for

LATELY_S = 2.0
"""Who was not heard for so long is not there; a busy machine may keep users silent for one."""


class Target:
    """`amoc demo http` on `host`; what it counted is asked there, whatever its link is like."""

    def __init__(self, host: Host) -> None:
        self.host = host
        command = [sys.executable, "-m", "amoc_gevent", "demo", "http"]
        self.process = host.start([*command, "--host", host.address, "--port", "0"])
        self.url = self.process.expect(r"^listening on (http://\S+)$").group(1)

    def counts(self) -> dict[str, Any]:
        """What it counted, as ``/count`` says."""
        found: dict[str, Any] = self._ask("/count")
        return found

    def reset(self) -> None:
        """Count from nought again."""
        with self.host.inside():
            fetch(f"{self.url}/count", "DELETE")

    def lives(self) -> dict[str, Any]:
        """What it found of its users' lives."""
        found: dict[str, Any] = self.counts()["lives"]
        return found

    def seen(self, within: float = LATELY_S) -> dict[int, str]:
        """The users that it heard of in the last `within` seconds, each with its host's address."""
        told: dict[str, str] = self._ask(f"/count/seen?within={within:.3f}")
        return {int(user): client.rpartition(":")[0] for user, client in told.items()}

    def until_seen(self, users: Iterable[int], timeout: float = 30.0) -> None:
        """Wait until it hears of these users, of all of them and of no others."""
        self._until({*users}, timeout, lambda: LATELY_S)

    def until_back(self, users: Iterable[int], since: float, timeout: float) -> None:
        """Wait until it has heard of these users, and no others, after the moment `since`.

        `since` is on the monotonic clock; the time-out begins then too, though it may lie ahead.
        """
        left = max(0.0, since + timeout - clock.monotonic())
        self._until({*users}, left, lambda: max(0.0, clock.monotonic() - since))

    def _until(self, users: set[int], timeout: float, within: Callable[[], float]) -> None:
        try:
            wait_for(lambda: self.seen(within()).keys() == users, timeout, "all users")
        except AssertionError as error:
            found = {*self.seen(within())}
            absent, surplus = sorted(users - found), sorted(found - users)
            raise AssertionError(f"{error}; absent: {absent}; surplus: {surplus}") from None

    def _ask(self, path: str) -> Any:
        with self.host.inside():
            return json.loads(fetch(self.url + path))
