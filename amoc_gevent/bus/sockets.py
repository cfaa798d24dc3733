"""The sockets between master, node and worker: PUB/SUB for the plan, PUSH/PULL for reports.

No single message matters: plans are published repeatedly and reports are acknowledged. On one
machine they are ipc sockets in private directories, so that no other user can join, listen or pose
as the master.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import gevent
import zmq as plain
import zmq.green as zmq
from zmq.utils.monitor import parse_monitor_message

from amoc_gevent import __version__
from amoc_gevent.bus.addresses import AddressedSocket
from amoc_gevent.core.messages import MessageError

SEND_BUFFER = 10_000

WIRE = f"amoc {__version__}".encode()
"""The frame after the topic of each message between machines: program and version."""

MESSAGE_MAX = 64 << 20
"""Largest message, in bytes. A peer that sends a longer one is disconnected."""

SILENCE_MS = 4000
"""Reconnect after this much silence, since a half-open link is useless."""

HEARTBEAT_MS = 2000
"""Interval of a node's heartbeats. It notices a dead link after 4 to 6 s."""

PROBE_S = 1
"""Interval of the kernel's keepalive probes to a silent node."""

NOW = int(plain.NOBLOCK)
MORE = int(plain.SNDMORE)
"""Plain integers: combining enum members takes longer than sending a frame."""

HANDSHAKE_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
Handshake = Literal["done", "mismatch", "refused"]

BURST = 100
"""Number of reports received in a row before other greenlets run."""

CONNECT_MS = 2000
RECONNECT_MS = (100, 1000)


class OtherVersionError(MessageError):
    """A message from another version of this package."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The CURVE keys (Z85) of one end: its own pair and, on a node, the master's public key."""

    public: bytes
    secret: bytes
    server: bytes = b""


def _socket(kind: int, keys: Keys | None = None, **how: Any) -> Any:
    socket: Any = zmq.Context.instance().socket(kind, **how)
    socket.linger = 0
    if keys is not None:
        _encrypt(socket, keys)
    return socket


def _encrypt(socket: Any, keys: Keys) -> None:
    """Require CURVE on all addresses that the socket is bound or connected to from now on."""
    socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
    if keys.server:
        socket.curve_serverkey = keys.server
    else:
        socket.curve_server = True
        socket.zap_domain = b"amoc"


def _configure_node_end(socket: Any) -> None:
    """Configure heartbeats, quick reconnects and the message limit of a node's socket."""
    socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS, SILENCE_MS
    socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MS
    socket.connect_timeout, socket.handshake_ivl = CONNECT_MS, SILENCE_MS
    socket.maxmsgsize = MESSAGE_MAX


def _configure_master_end(socket: Any) -> None:
    """Configure keepalive and the message limit of a master's socket; the nodes reconnect.

    TCP keepalive detects dead nodes, not ZeroMQ heartbeats: ZeroMQ keeps its timers in a list and
    walks it for each beat of each of a thousand nodes.
    """
    socket.tcp_keepalive, socket.tcp_maxrt = 1, SILENCE_MS
    socket.tcp_keepalive_idle = socket.tcp_keepalive_cnt = SILENCE_MS // 1000
    socket.tcp_keepalive_intvl = PROBE_S
    socket.handshake_ivl = SILENCE_MS
    socket.maxmsgsize = MESSAGE_MAX


class _Bound(AddressedSocket):
    """A socket that others connect to."""

    def _listen(self, endpoint: str, keys: Keys | None, local: str) -> str:
        """Bind to both addresses; return `endpoint` with its port. Only `endpoint` uses `keys`.

        ZeroMQ gives an address the socket's options at the time of the bind.
        """
        if local:
            self._bind(local)
        if keys is not None:
            _encrypt(self._socket, keys)
        return self._bind(endpoint)


class Publisher(_Bound):
    """Publishes at `endpoint`, which includes the port once it is bound.

    `keys` encrypt `endpoint`. The ipc address `local` is not encrypted.
    """

    def __init__(self, endpoint: str, keys: Keys | None = None, local: str = "") -> None:
        # Publishing never blocks, so this needs no green socket and no wait on the hub.
        super().__init__(_socket(zmq.PUB, socket_class=plain.Socket))
        _configure_master_end(self._socket)
        self.endpoint = self._listen(endpoint, keys, local)

    def publish(self, data: bytes) -> None:
        """Send `data` to all current subscribers."""
        self._socket.send(data)

    def send(self, topic: bytes, *frames: bytes) -> None:
        """Send a message to the subscribers of `topic`."""
        *before, last = topic, WIRE, *frames
        for frame in before:
            self._socket.send(frame, MORE)
        self._socket.send(last)


class Subscriber(AddressedSocket):
    """Receives the latest order published at `endpoint`; skips orders that a newer one replaced."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(_socket(zmq.SUB))
        self._socket.conflate = True
        self._socket.subscribe(b"")
        self._connect(endpoint)

    def receive(self) -> bytes:
        """Wait for the next message."""
        return bytes(self._socket.recv())


class Listener(AddressedSocket):
    """Receives a master's messages on `topics`, over any network."""

    def __init__(self, endpoint: str, topics: Iterable[bytes], keys: Keys | None = None) -> None:
        super().__init__(_socket(zmq.SUB, keys))
        _configure_node_end(self._socket)
        for topic in topics:
            self._socket.subscribe(topic)
        self._socket.ipv6 = True
        events = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED | HANDSHAKE_EVENTS
        self._monitor: Any = self._socket.get_monitor_socket(events)
        self._shaking = False
        self._connect(endpoint)

    def handshake(self) -> Handshake:
        """Wait until a connection's handshake ends; return its result.

        `mismatch`: only one of the two ends has keys. `refused`: the other end disconnected or
        stayed silent, as it does when it rejects the key.
        """
        while True:
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            cut_off = event == zmq.EVENT_DISCONNECTED and self._shaking
            self._shaking = event == zmq.EVENT_CONNECTED
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return "done"
            if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                return "mismatch"
            if cut_off or event & HANDSHAKE_EVENTS:
                return "refused"

    def close(self) -> None:
        """Close the socket."""
        self._socket.disable_monitor()
        super().close()

    def receive(self) -> tuple[bytes, list[bytes]]:
        """Wait for the next message; return its topic and its frames. Raises MessageError."""
        topic, *frames = self._socket.recv_multipart()
        return topic, _without_version(frames)


def _without_version(frames: list[bytes]) -> list[bytes]:
    """Check the version frame and return the frames after it. Raises MessageError."""
    if not frames or not frames[0].startswith(b"amoc "):
        raise MessageError("a message that is not from amoc")
    if frames[0] != WIRE:
        other = frames[0][:40].decode(errors="replace")
        raise OtherVersionError(
            f"{other} is not {WIRE.decode()}: install the same version everywhere"
        )
    return frames[1:]


class Pusher(AddressedSocket):
    """Sends reports to `endpoint`. Unsent ones get `linger` seconds when it closes."""

    def __init__(self, endpoint: str, linger: float = 2.0, keys: Keys | None = None) -> None:
        super().__init__(_socket(zmq.PUSH, keys))
        self._socket.linger = int(linger * 1000)
        self._socket.sndhwm = SEND_BUFFER
        _configure_node_end(self._socket)
        self._socket.ipv6 = True
        self._connect(endpoint)

    def push(self, data: bytes) -> bool:
        """Queue `data`; return False if the queue is full."""
        try:
            self._socket.send_multipart((WIRE, data), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True


class Puller(_Bound):
    """Receives the reports sent to `endpoint`, which includes the port once it is bound.

    `keys` encrypt `endpoint`. The ipc address `local` is not encrypted. After a burst it waits
    `pause` seconds and receives the next reports together. That is cheaper than a wake-up for each.
    """

    def __init__(
        self, endpoint: str, keys: Keys | None = None, pause: float = 0.0, local: str = ""
    ) -> None:
        super().__init__(_socket(zmq.PULL))
        self._socket.rcvhwm = SEND_BUFFER
        _configure_master_end(self._socket)
        self.endpoint = self._listen(endpoint, keys, local)
        self._plain: Any = plain.Socket.shadow(self._socket.underlying)
        self._pause = pause
        self._burst = 0

    def pull(self) -> bytes:
        """Wait for the next report. Raises MessageError for any other message."""
        frames = self._receive_now() or self._receive_after_pause() or self._socket.recv_multipart()
        self._burst += 1
        frames = _without_version(frames)
        if len(frames) != 1:
            raise MessageError(f"a report of {len(frames)} frames")
        return frames[0]

    def _receive_now(self) -> list[bytes]:
        """Return the next message if one has arrived and the burst is not over, else nothing."""
        if self._burst >= BURST:
            return []
        try:
            frames = [self._plain.recv(NOW)]
        except zmq.Again:
            return []
        while self._plain.getsockopt(zmq.RCVMORE):
            frames.append(self._plain.recv(NOW))
        return frames

    def _receive_after_pause(self) -> list[bytes]:
        """Let other greenlets run; return the next message, if any, afterwards."""
        self._burst = 0
        gevent.sleep(self._pause)
        return self._receive_now()


def finish() -> None:
    """Wait, within each socket's linger, until all reports are sent, before the process ends."""
    zmq.Context.instance().term()
