"""`amoc demo xmpp` on the servers' core, and its counts of routed messages."""

import json
import re
import sys
from pathlib import Path
from signal import SIGTERM
from types import TracebackType
from typing import Any, Self
from urllib.request import ProxyHandler, build_opener

from benchmarks.machine import cores
from benchmarks.process import Child


class DemoXmpp:
    """The demo XMPP server in its own process."""

    def __init__(self, directory: Path, certificate: str = "") -> None:
        command = [sys.executable, "-m", "amoc_gevent", "demo", "xmpp", "--port", "0"]
        if certificate:
            command += ["--tls", certificate, certificate]
        self._child = Child(command, directory, cores()[1])
        try:
            self._child.until(lambda: "counts on" in self._child.said(), "listening")
            said = self._child.said()
            self.port = int(re.findall(r"^listening on .*:(\d+)$", said, re.MULTILINE)[0])
            self._pages: str = re.findall(r"^counts on (.*)/count$", said, re.MULTILINE)[0]
        except BaseException:
            self._child.end(SIGTERM)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.end(SIGTERM)

    def routed(self) -> int:
        """Return the number of delivered messages. There are no faults, so none is lost."""
        return int(self._counts()["messages"]["delivered"])

    def sent(self) -> dict[str, int]:
        """Return the number of delivered messages from each user, by bare JID."""
        pairs: list[dict[str, Any]] = self._asked("/pairs")
        return {pair["from"]: int(pair["delivered"]) for pair in pairs}

    def online(self) -> int:
        """Return the number of logged-in users."""
        return int(self._counts()["online"])

    def connections(self) -> int:
        """Return the number of connections so far."""
        return int(self._counts()["connections"])

    def _counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = self._asked("/count")
        return counts

    def _asked(self, path: str) -> Any:
        opener = build_opener(ProxyHandler({}))
        with opener.open(f"{self._pages}{path}", timeout=30) as answer:
            return json.load(answer)

    def cpu(self) -> float:
        """Return its CPU seconds so far."""
        return self._child.threads_cpu()
