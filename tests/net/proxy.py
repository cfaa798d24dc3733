"""A TCP proxy that stalls: `python -m tests.net.proxy --stall 3 ADDRESS:PORT=ADDRESS:PORT ...`.

It listens on the first address of each pair and passes all on to the second. SIGUSR1 stalls it:
for so many seconds it reads and writes nothing, and new connections wait too. It says `stalled`
when that begins, and `flowing` right before it ends.
"""

import argparse
import signal
from functools import partial

import gevent
from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer

CHUNK = 65536

Address = tuple[str, int]


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _pump(flowing: Event, source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes from one side, until it or the other ends."""
    try:
        while data := source.recv(CHUNK):
            flowing.wait()
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for side in (source, sink):
            side.close()


def _serve(flowing: Event, target: Address, client: socket.socket, _client: Address) -> None:
    flowing.wait()
    try:
        server = socket.create_connection(target)
    except OSError:
        client.close()
        return
    with client, server:
        ways = ((client, server), (server, client))
        gevent.joinall([gevent.spawn(_pump, flowing, *way) for way in ways])


def main() -> None:
    """Proxy until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", metavar="ADDRESS:PORT=ADDRESS:PORT")
    parser.add_argument("--stall", type=float, default=3.0, metavar="SECONDS")
    given = parser.parse_args()
    flowing, ended = Event(), Event()
    flowing.set()

    def stall() -> None:
        flowing.clear()
        print("stalled", flush=True)
        gevent.sleep(given.stall)
        print("flowing", flush=True)
        flowing.set()

    gevent.signal_handler(signal.SIGUSR1, stall)
    gevent.signal_handler(signal.SIGTERM, ended.set)
    for pair in given.pairs:
        here, _, there = pair.partition("=")
        server = StreamServer(_address(here), partial(_serve, flowing, _address(there)))
        server.start()
        print(f"listening on {server.server_host}:{server.server_port}", flush=True)
    ended.wait()


if __name__ == "__main__":
    main()
