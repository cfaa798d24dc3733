"""The control socket: a Unix socket for commands and answers, both as JSON lines.

An answer is `{"ok": true, "result": {...}}` or `{"ok": false, "error": "...", "usage": bool}`. A
stream is a sequence of answers, with `"more": true` in each but the last. If something is wrong
with the daemon itself, each answer also has `"warning": "..."`.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from gevent.server import StreamServer

from amoc_gevent.control.requests import command_of, name_of
from amoc_gevent.core.answers import End
from amoc_gevent.core.json_codec import as_json
from amoc_gevent.core.run.commands import Command
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.socket_paths import short_enough

log = logging.getLogger(__name__)

LINE_MAX = 1 << 20
BACKLOG = 128

Service = Callable[[Mapping[str, Any]], object]
"""Answers one request, a decoded JSON object, with an answer or an iterator of answers."""


class ControlServer:
    """Listens at `path` (mode 0600) and answers each command with the result of `handle`.

    `services` answer requests by other names, which are no commands. Each answer carries the text
    that `warning` returns, unless it is empty. Raises AmocError if it cannot listen.
    """

    def __init__(
        self,
        path: Path,
        handle: Callable[[Command], object],
        services: Mapping[str, Service] | None = None,
        warning: Callable[[], str] = str,
    ) -> None:
        self._path = path
        self._handle = handle
        self._services = services or {}
        self._warning = warning
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            with short_enough(path) as name:
                listener.bind(name)
                self._file = os.stat(name)  # noqa: PTH116  # `name` may lead through /proc
        except OSError as error:
            listener.close()
            raise AmocError(f"no control socket at {path}: {error.strerror or error}") from error
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        self._server = StreamServer(listener, self._serve)
        self._server.start()

    def close(self) -> None:
        """Stop answering and remove the socket, unless another one has replaced it."""
        self._server.stop()
        with suppress(OSError):
            if os.path.samestat(self._path.stat(), self._file):
                self._path.unlink()

    def _serve(self, connection: socket.socket, _address: object) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                while line := lines.readline(LINE_MAX):
                    with closing(self._answers(line)) as answers:
                        for answer in answers:
                            connection.sendall(answer)
                    if not line.endswith(b"\n"):
                        return
            except OSError:  # the client has gone
                return

    def _answers(self, line: bytes) -> Generator[bytes, None, None]:
        """Yield the answer to `line`, or the answers of a stream. `line` may be anything."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield self._refused(f"not a line of JSON: {error}", usage=True)
            return
        try:
            result = self._result(request)
            if not isinstance(result, Iterator):
                yield self._line({"ok": True, "result": as_json(result)})
                return
            for part in result:
                yield self._line({"ok": True, "more": True, "result": as_json(part)})
            yield self._line({"ok": True, "result": as_json(End())})
        except AmocError as error:
            yield self._refused(str(error), usage=isinstance(error, UsageError))
        except Exception as error:  # the boundary around a handler
            log.exception("%.200r failed", request)
            yield self._refused(f"internal error: {error!r}", usage=False)

    def _result(self, request: object) -> object:
        name = name_of(request)
        if name in self._services and isinstance(request, dict):
            return self._services[name](request)
        return self._handle(command_of(request, self._services))

    def _line(self, answer: dict[str, object]) -> bytes:
        warning = self._warning()
        if warning and warning not in str(answer.get("error", "")):
            answer = {**answer, "warning": warning}
        return json.dumps(answer).encode() + b"\n"

    def _refused(self, why: str, *, usage: bool) -> bytes:
        return self._line({"ok": False, "error": why, "usage": usage})
