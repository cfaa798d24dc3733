"""The control socket: commands in as JSON lines, answers out as JSON lines, over a Unix socket.

An answer is `{"ok": true, "result": {...}}` or `{"ok": false, "error": "...", "usage": bool}`.
"""

import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gevent.server import StreamServer

from amoc_gevent.core.commands import Command
from amoc_gevent.core.wire import command_of
from amoc_gevent.errors import AmocError, UsageError

log = logging.getLogger(__name__)

LINE_MAX = 1 << 20


class ControlServer:
    """Answers at `path` (mode 0600) with what `handle` makes of each command."""

    def __init__(self, path: Path, handle: Callable[[Command], dict[str, object]]) -> None:
        self._path = path
        self._handle = handle
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(64)
        listener.setblocking(False)
        self._server = StreamServer(listener, self._serve)
        self._server.start()

    def close(self) -> None:
        """Stop answering and remove the socket."""
        self._server.stop()
        self._path.unlink(missing_ok=True)

    def _serve(self, connection: socket.socket, _address: object) -> None:
        with connection, connection.makefile("rb") as lines:
            while line := lines.readline(LINE_MAX):
                answer = self._answer(line)
                try:
                    connection.sendall(json.dumps(answer).encode() + b"\n")
                except OSError:  # whoever asked has gone
                    return
                if not line.endswith(b"\n"):
                    return

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            return {"ok": False, "error": f"not a line of JSON: {error}", "usage": True}
        try:
            return {"ok": True, "result": self._handle(command_of(request))}
        except AmocError as error:
            return {"ok": False, "error": str(error), "usage": isinstance(error, UsageError)}
        except Exception as error:  # the boundary around a handler: whoever asks is told
            log.exception("%r failed", request)
            return {"ok": False, "error": f"internal error: {error!r}", "usage": False}
