"""An independent, mostly idle client that measures the latency of a server.

``python -m benchmarks.servers.probe HOST PORT [CERTIFICATE]`` sends about 30 requests a second on
one blocking connection, at random instants, until SIGTERM. Then it prints p50, p99 (µs) and the
number of requests. It shares nothing with the generators: plain sockets, its own clock.
"""

import json
import random
import signal
import socket
import ssl
import sys
import time
from types import FrameType

from amoc_gevent import clock

MEAN_PAUSE_S = 0.03
REQUEST = b"GET / HTTP/1.1\r\nHost: probe\r\n\r\n"


def connect(host: str, port: int, certificate: str | None) -> socket.socket:
    """Return a blocking connection, over TLS if a certificate to trust is given."""
    plain = socket.create_connection((host, port), timeout=10)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if certificate is None:
        return plain
    return ssl.create_default_context(cafile=certificate).wrap_socket(plain, server_hostname=host)


def ask(connection: socket.socket) -> float:
    """Send a request and return the time to its answer (µs)."""
    sent = clock.monotonic_ns()
    connection.sendall(REQUEST)
    answer = connection.recv(65536)
    took = (clock.monotonic_ns() - sent) / 1000
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ValueError(f"the probe was answered {answer[:40]!r}")
    return took


def main() -> None:
    """Measure until SIGTERM."""
    certificate = sys.argv[3] if len(sys.argv) > 3 else None
    connection = connect(sys.argv[1], int(sys.argv[2]), certificate)
    ending: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ending.append(number)

    signal.signal(signal.SIGTERM, end)
    ask(connection)  # warm-up: the first answer is slower
    print("ready", flush=True)
    took = []
    while not ending:
        time.sleep(random.expovariate(1 / MEAN_PAUSE_S))
        took.append(ask(connection))
    took.sort()
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    print(json.dumps({"p50_us": p50, "p99_us": p99, "requests": 1 + len(took)}), flush=True)


if __name__ == "__main__":
    main()
