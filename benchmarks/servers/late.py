"""A server that answers each request 10 ms after its arrival, over TCP or TLS, in one thread.

``python -m benchmarks.servers.late [CERTIFICATE]`` prints its port on one line and serves until
SIGTERM, then prints the number of requests. All answers wait equally long, so one queue keeps them
in the order in which they are due.
"""

import contextlib
import json
import select
import signal
import socket
import ssl
import sys
from collections import deque
from types import FrameType

from amoc_gevent import clock

DELAY_NS = 10_000_000
BODY = b"thirty-five bytes, newline included"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 35\r\n\r\n" + BODY
END_OF_HEAD = b"\r\n\r\n"


class LateServer:
    """The server with its connections, their incomplete requests, and the waiting answers."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._ready = select.epoll()
        self._ready.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, socket.socket] = {}
        self._heads: dict[int, bytes] = {}
        self._waiting: deque[tuple[int, socket.socket]] = deque()
        self.requests = 0
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Serve forever."""
        while True:
            self._answer()
            # epoll waits with a resolution of 1 ms, so use select on it, which has 1 µs
            due_s = (self._waiting[0][0] - clock.monotonic_ns()) / 1e9 if self._waiting else None
            select.select([self._ready], [], [], due_s if due_s is None else max(0.0, due_s))
            for descriptor, _ in self._ready.poll(0):
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._read(descriptor)

    def _answer(self) -> None:
        now = clock.monotonic_ns()
        while self._waiting and self._waiting[0][0] <= now:
            connection = self._waiting.popleft()[1]
            try:
                connection.send(ANSWER)
            except (OSError, ValueError):  # the client left before its answer was due
                continue

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self._connections[connection.fileno()] = connection
        self._heads[connection.fileno()] = b""
        self._ready.register(connection, select.EPOLLIN)

    def _read(self, descriptor: int) -> None:
        connection = self._connections[descriptor]
        try:
            # read until it would block: TLS may buffer a record that epoll does not see
            while received := connection.recv(65536):
                came = clock.monotonic_ns()
                *heads, rest = (self._heads[descriptor] + received).split(END_OF_HEAD)
                self._heads[descriptor] = rest
                self.requests += len(heads)
                self._waiting.extend((came + DELAY_NS, connection) for _ in heads)
                if self._context is None:
                    return
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            pass
        self._ready.unregister(descriptor)
        del self._connections[descriptor], self._heads[descriptor]
        connection.close()


def main() -> None:
    """Serve, over TLS if a file with a certificate and its key is given."""
    context = None
    if len(sys.argv) > 1:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[1])
    server = LateServer(context)
    signal.signal(signal.SIGTERM, _end)
    print(server.port, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve()
    print(json.dumps({"requests": server.requests}), flush=True)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
