"""`amoc demo xmpp` as a process of its own, for tests that load it or want it at fault."""

import json
import sys
from pathlib import Path
from typing import Any, Self

from tests.servers import Process, fetch


class DemoXmpp:
    """The demo XMPP server on a free port of loopback."""

    def __init__(self, directory: Path, *options: str) -> None:
        command = [sys.executable, "-m", "amoc_gevent", "demo", "xmpp", "--port", "0", *options]
        self.process = Process(command, directory / "demo-xmpp")
        try:
            said = self.process.expect(r"^listening on 127\.0\.0\.1:(\d+)$")
            self.port = int(said.group(1))
            self._pages = self.process.expect(r"^counts on (http://\S+)/count$").group(1)
        except BaseException:
            self.process.stop()
            raise

    def counts(self) -> dict[str, Any]:
        """What `/count` says."""
        counts: dict[str, Any] = json.loads(fetch(f"{self._pages}/count"))
        return counts

    def pairs(self) -> dict[tuple[str, str], dict[str, int]]:
        """What `/pairs` says, by sender and recipient."""
        pairs = json.loads(fetch(f"{self._pages}/pairs"))
        return {(pair.pop("from"), pair.pop("to")): pair for pair in pairs}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()
