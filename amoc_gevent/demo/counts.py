"""Counts of the requests to a demo server by method and path, and the iterations of its users."""

from typing import Any

from amoc_gevent.demo.iterations import IterationCheck

PATHS_MAX = 10_000
OTHER = "(other)"


class Tally:
    """The number of requests with one method and path."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class Counts:
    """Requests received since the start or the last reset.

    Paths beyond the first 10,000 different ones are counted together as ``(other)``. `iterations`
    keeps the requests to ``/check``, which name their user.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.iterations = IterationCheck()
        self._tallies: dict[tuple[str, str], Tally] = {}

    def tally(self, method: str, path: str) -> Tally:
        """Return the tally of this method and path, always the same object."""
        found = self._tallies.get((method, path))
        if found is None:
            if len(self._tallies) >= PATHS_MAX:
                path = OTHER
            found = self._tallies.setdefault((method, path), Tally())
        return found

    def reset(self) -> None:
        """Reset all counts to 0."""
        self.connections = 0
        self.iterations.reset()
        for tally in self._tallies.values():
            tally.n = 0

    def as_dict(self) -> dict[str, Any]:
        """Return ``total``, ``paths``, ``methods`` (name to count), ``connections``, ``lives``."""
        paths: dict[str, int] = {}
        methods: dict[str, int] = {}
        for (method, path), tally in sorted(self._tallies.items()):
            if tally.n:
                paths[path] = paths.get(path, 0) + tally.n
                methods[method] = methods.get(method, 0) + tally.n
        return {
            "total": sum(paths.values()),
            "paths": paths,
            "methods": methods,
            "connections": self.connections,
            "lives": self.iterations.as_dict(),
        }
