"""The demo HTTP server on a host of its own, and what it found of the users that load it."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from tests.net.network import Host
from tests.servers import fetch, wait_for


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

    def lives(self) -> dict[str, Any]:
        """What it found of its users' lives."""
        found: dict[str, Any] = self.counts()["lives"]
        return found

    def seen(self, within: float) -> list[int]:
        """The ids of the users that it heard of in the last `within` seconds."""
        found: list[int] = self._ask(f"/count/seen?within={within}")
        return found

    def until_seen(self, users: Iterable[int], timeout: float = 20.0, within: float = 1.0) -> None:
        """Wait until it hears of these users, of all of them and of no others."""
        expected = list(users)

        def there() -> bool:
            return self.seen(within) == expected

        try:
            wait_for(there, timeout, f"{len(expected)} users at the target")
        except AssertionError as error:
            found = set(self.seen(within))
            absent, surplus = sorted(set(expected) - found), sorted(found - set(expected))
            raise AssertionError(f"{error}; absent: {absent}; surplus: {surplus}") from None

    def _ask(self, path: str) -> Any:
        with self.host.inside():
            return json.loads(fetch(self.url + path))
