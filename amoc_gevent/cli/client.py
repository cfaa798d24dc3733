"""A plain client of the control socket: sends one request, waits for its answer."""

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from amoc_gevent.errors import AmocError, UsageError

ANSWER_S = 60.0


class ControlClient:
    """A connection to the control socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise AmocError(f"nothing answers at {path}: {error.strerror}") from error
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the result, or raise the error that was answered."""
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise AmocError(f"the load generator does not answer: {error}") from error
        if not line:
            raise AmocError("the load generator has ended")
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            raise (UsageError if answer.get("usage") else AmocError)(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result
