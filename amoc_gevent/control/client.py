"""A client of a control socket. Each request has its own connection, so the daemon may restart."""

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amoc_gevent.core.answer_types import answer_type
from amoc_gevent.core.answers import Answer
from amoc_gevent.core.json_codec import from_json
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.socket_paths import owner_name, short_enough

ANSWER_S = 60.0
"""How long an answer may take (s), before the daemon is reported not to answer."""

_CREDENTIALS = struct.Struct("3i")
"""The kernel's `struct ucred`: pid, uid and gid (unix(7))."""


class UnansweredError(AmocError):
    """Nothing listens at the socket, or no valid answer came."""


class Control:
    """A client of the control socket at `path`; `hint` is the error message if nothing listens.

    `warning` is the daemon's warning about itself in its last answer, even if that is an error.
    """

    start_command = "do SCENARIO FIRST LAST"
    """The command that starts a run, for hints."""

    def __init__(self, path: Path, hint: str = "") -> None:
        self.path = path
        self._hint = hint
        self.warning = ""

    def ask(self, request: dict[str, Any], timeout: float = ANSWER_S) -> dict[str, Any]:
        """Return the result, or raise the error in the answer. Wait at most `timeout` seconds."""
        self.warning = ""
        with self._connected(timeout) as connection, connection.makefile("rb") as lines:
            _send(connection, request)
            result: dict[str, Any] = self.read(_next(lines))["result"]
            return result

    def answer(self, request: dict[str, Any], timeout: float = ANSWER_S) -> Answer:
        """Return the typed answer to a request. Raises UnansweredError if it is invalid."""
        return answer_of(request, self.ask(request, timeout))

    def listens(self) -> bool:
        """Return whether a process listens at the socket, even if it does not answer."""
        try:
            self._connected(ANSWER_S).close()
        except UnansweredError:
            return False
        return True

    def read(self, line: bytes) -> dict[str, Any]:
        """Return the answer in `line`, which has a result, and keep its warning.

        Raises AmocError or UsageError if the answer is an error, and UnansweredError if it is
        invalid.
        """
        if not line.endswith(b"\n"):
            raise UnansweredError("the load generator ended before its answer was complete")
        try:
            answer: dict[str, Any] = json.loads(line)
            self.warning = str(answer.get("warning", ""))
            if not answer["ok"]:
                raise (UsageError if answer.get("usage") else AmocError)(answer["error"])
            if not isinstance(answer["result"], dict):
                raise TypeError("its result is not an object")  # noqa: TRY301  # reported like a missing key
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise UnansweredError(f"{UNREADABLE}: {line[:80]!r}") from error
        return answer

    @contextmanager
    def stream(self, request: dict[str, Any]) -> "Iterator[Stream]":
        """Yield the stream of answers to a request; the connection lasts as long as the block."""
        with self._connected(ANSWER_S) as connection:
            _send(connection, request)
            yield Stream(connection, self.read, lambda part: answer_of(request, part))

    def _connected(self, timeout: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            with short_enough(self.path) as name:
                connection.connect(name)
        except OSError as error:
            connection.close()
            reason = error.strerror or str(error)
            raise UnansweredError(
                self._hint or f"nothing answers at {self.path}: {reason}"
            ) from error
        uid = _peer(connection)
        if uid not in {os.geteuid(), 0}:
            connection.close()
            raise AmocError(
                f"{owner_name(uid)} answers at {self.path}, not {owner_name(os.geteuid())}: no "
                "request was sent"
            )
        return connection


class Stream:
    """The answers to one request as they arrive. `fileno` allows waiting in `select`."""

    def __init__(
        self,
        connection: socket.socket,
        read: Callable[[bytes], dict[str, Any]],
        typed: Callable[[dict[str, Any]], Answer],
    ) -> None:
        self._connection = connection
        self._read = read
        self._typed = typed
        self._buffer = b""
        self.ended = False

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._connection.fileno()

    def receive(self) -> list[Answer]:
        """Wait for bytes and return the answers that are complete."""
        try:
            data = self._connection.recv(1 << 16)
        except OSError as error:
            raise UnansweredError(f"the load generator does not answer: {error}") from error
        if not data:
            raise UnansweredError("the load generator has ended")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        answers = [self._read(line + b"\n") for line in lines]
        self.ended = any(not answer.get("more") for answer in answers)
        return [self._typed(answer["result"]) for answer in answers if answer.get("more")]

    def __iter__(self) -> Iterator[Answer]:
        while not self.ended:
            yield from self.receive()


def _peer(connection: socket.socket) -> int:
    """Return the user id of the process at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    found: int = _CREDENTIALS.unpack(credentials)[1]
    return found


def _send(connection: socket.socket, request: dict[str, Any]) -> None:
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
    except OSError as error:
        raise UnansweredError(f"the load generator does not answer: {error}") from error


def _next(lines: Any) -> bytes:
    try:
        line: bytes = lines.readline()
    except OSError as error:
        raise UnansweredError(f"the load generator does not answer: {error}") from error
    if not line:
        raise UnansweredError("the load generator has ended")
    return line


def answer_of(request: dict[str, Any], result: dict[str, Any]) -> Answer:
    """Return `result` as a typed answer. Raises UnansweredError if it is invalid."""
    with valid_answer():
        return from_json(answer_type(request["command"], result), result)


UNREADABLE = "this amoc cannot read the load generator's answer"


@contextmanager
def valid_answer() -> Iterator[None]:
    """Raise UnansweredError if an answer that the block reads lacks a part or has a wrong type."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UnansweredError(f"{UNREADABLE} ({what}): are both the same release?") from error
