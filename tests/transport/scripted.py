"""A server on the hub of the test that follows a script on each connection."""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import gevent
from gevent import socket as gsocket
from gevent.event import Event
from gevent.server import StreamServer


class Connection:
    """One connection of a client, with a reference to the server."""

    def __init__(self, sock: gsocket.socket, server: "Scripted") -> None:
        self._sock = sock
        self.server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


Handler = Callable[[Connection], Any]


class Scripted:
    """Calls the first handler for the first connection, and so on, then the last for all others.

    `requests` has the bytes received before each answer, `connections` the number of connections.
    `released` is set at the end, for handlers that wait until the test ends.
    """

    def __init__(self, *handlers: Handler, host: str = "127.0.0.1") -> None:
        self._handlers = handlers
        self._server = StreamServer((host, 0), self._serve)
        self.requests: list[bytes] = []
        self.connections = 0
        self.released = Event()

    @property
    def port(self) -> int:
        port: int = self._server.server_port
        return port

    @property
    def url(self) -> str:
        host = self._server.server_host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.stop()

    def _serve(self, sock: gsocket.socket, _: object) -> None:
        handler = self._handlers[min(self.connections, len(self._handlers) - 1)]
        self.connections += 1
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):  # the client may disconnect at any time
            handler(Connection(sock, self))


def read_request(sock: Connection) -> bytes:
    """Return the next request, b"" at the end. Adds it to the server's `requests`."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
            while len(body) < length:
                body += more_of(sock)
        if line == b"transfer-encoding: chunked":
            while not body.endswith(b"0\r\n\r\n"):
                body += more_of(sock)
    request = head + b"\r\n\r\n" + body
    sock.server.requests.append(request)
    return request


def more_of(sock: Connection) -> bytes:
    """Return more bytes of a request. The client must still be connected."""
    more: bytes = sock.recv(65536)
    if not more:
        raise ConnectionResetError("the client left in the middle of its request")
    return more


def answers(*answers: bytes, then: Handler | None = None) -> Handler:
    """Give one answer to each request, then close or call `then`."""

    def handler(sock: Connection) -> None:
        for answer in answers:
            if not read_request(sock):
                return
            sock.sendall(answer)
        if then is not None:
            then(sock)

    return handler


def always(answer: bytes) -> Handler:
    """Give the same answer to each request until the client closes."""

    def handler(sock: Connection) -> None:
        while read_request(sock):
            sock.sendall(answer)

    return handler


def in_pieces(answer: bytes, size: int = 1) -> Handler:
    """Answer one request in pieces. The client reads each piece before the next is sent."""

    def handler(sock: Connection) -> None:
        read_request(sock)
        for start in range(0, len(answer), size):
            sock.sendall(answer[start : start + size])
            gevent.idle()

    return handler


def reads_then(do: Handler) -> Handler:
    """Read one request, then call something instead of answering."""

    def handler(sock: Connection) -> None:
        read_request(sock)
        do(sock)

    return handler


def stays_silent(sock: Connection) -> None:
    """Keep the connection open and send nothing until the test ends."""
    sock.server.released.wait()


def resets(sock: Connection) -> None:
    """Reset the connection (RST)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def response(body: bytes = b"", status: str = "200 OK", *fields: str) -> bytes:
    """Return a response with Content-Length and these fields."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def refused_port() -> int:
    """Return a closed port, reserved by a bound socket that does not listen."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    port: int = held.getsockname()[1]
    return port


_held: list[socket.socket] = []
