"""The sockets between master, node and worker: PUB/SUB for the plan, PUSH/PULL for reports.

Nothing on them matters by itself: plans are published again and again, reports are acknowledged.
On one machine they are ipc sockets, in directories that are this user's alone: nobody else can
join, listen or pose as the master.
"""

import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gevent
import zmq as plain
import zmq.green as zmq
from zmq.utils.monitor import parse_monitor_message

from amoc_gevent import __version__, clock
from amoc_gevent.core.messages import MessageError
from amoc_gevent.engine.home import owner_name, socket_parent
from amoc_gevent.errors import AmocError

log = logging.getLogger(__name__)

SEND_BUFFER = 10_000
PREFIX = "amoc_"
IPC = "ipc://"

WIRE = f"amoc {__version__}".encode()
"""What each message between machines begins with, after its topic: who speaks, and how."""

MESSAGE_MAX = 64 << 20
"""Bytes of a message; who sends a longer one is cut off."""

SILENCE_MS = 4000
"""A connection on which who was asked is silent for so long is made anew; half a link is none."""

HEARTBEAT_MS = 2000
"""How often a node asks whether the master is there: a dead link is noticed 4 to 6 s later."""

PROBE_S = 1
"""How often the kernel asks a node that has fallen silent."""

NOW = int(plain.NOBLOCK)
MORE = int(plain.SNDMORE)
"""As numbers: the enumeration's take longer to handle than a frame takes to be sent."""

BURST = 100
"""Reports that are taken in one after the other before something else gets its turn."""

HANDSHAKE_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
Handshake = Literal["done", "other", "refused"]

LOOK_S = 1.0
"""How often a watch looks whether the paths of sockets still lead to them."""

CONNECT_MS = 2000
RECONNECT_MS = (100, 1000)


class OtherVersionError(MessageError):
    """A message of another version of this package."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The CURVE keys (Z85) of one end: its own pair and, of a node's, the master's public key."""

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
    """Have all addresses that the socket gets from now on take and give CURVE only."""
    socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
    if keys.server:
        socket.curve_serverkey = keys.server
    else:
        socket.curve_server = True
        socket.zap_domain = b"amoc"


def _mind_the_master(socket: Any) -> None:
    """Notice a dead connection soon, make it anew soon, and take no endless message."""
    socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS, SILENCE_MS
    socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MS
    socket.connect_timeout, socket.handshake_ivl = CONNECT_MS, SILENCE_MS
    socket.maxmsgsize = MESSAGE_MAX


def _mind_the_nodes(socket: Any) -> None:
    """Drop dead connections, which those at their other ends make anew, and endless messages.

    That the other end still answers is left to the kernel to ask: ZeroMQ keeps its timers in a list
    that it goes through for each beat of each of a thousand nodes.
    """
    socket.tcp_keepalive, socket.tcp_maxrt = 1, SILENCE_MS
    socket.tcp_keepalive_idle = socket.tcp_keepalive_cnt = SILENCE_MS // 1000
    socket.tcp_keepalive_intvl = PROBE_S
    socket.handshake_ivl = SILENCE_MS
    socket.maxmsgsize = MESSAGE_MAX


class _Address:
    """An address that `socket` is bound to, or else connected to, which its owner then closes.

    Raises AmocError where that cannot be, and has closed the socket.
    """

    def __init__(self, socket: Any, endpoint: str, *, bound: bool) -> None:
        self._socket = socket
        self._path = Path(endpoint.removeprefix(IPC)) if endpoint.startswith(IPC) else None
        self.endpoint = endpoint
        self._bound = bound
        if bound:
            socket.ipv6 = "[" in endpoint
        try:
            self._open()
        except AmocError:
            socket.close()
            raise
        if bound and self._path is None:
            self.endpoint = str(socket.last_endpoint.decode().rstrip("\0"))  # with its port

    def _open(self) -> None:
        """Bind or connect. An ipc socket's file is replaced by whoever binds to it next."""
        self._reached = _reached(self.endpoint)
        try:
            (self._socket.bind if self._bound else self._socket.connect)(self._reached)
        except zmq.ZMQError as error:
            what = "listen at" if self._bound else "connect to"
            raise AmocError(f"cannot {what} {self.endpoint}: {error.strerror.lower()}") from error
        self._file = self._found()

    def _found(self) -> tuple[int, int] | None:
        """Return which file the path names now: the socket's own, or the directory to connect in.

        None is no file. While a socket is bound, or a directory held, its number is not used again.
        """
        if self._path is None:
            return None
        try:
            found = (self._path if self._bound else self._path.parent).lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @property
    def lost(self) -> Path | None:
        """The directory in which others look for the socket and do not find it; else None."""
        return self._path.parent if self._path is not None and self._found() != self._file else None

    def open_again(self) -> None:
        """Bind or connect where the path leads now; make its directory. Raises AmocError."""
        assert self._path is not None  # noqa: S101  # only a path can be lost
        with suppress(FileExistsError, FileNotFoundError):
            self._path.parent.mkdir(mode=0o700)
        os.close(open_private(self._path.parent))  # else what there is now is better than nothing
        self.renew()

    def renew(self) -> None:
        """Bind or connect anew. Raises AmocError."""
        with suppress(zmq.ZMQError):
            (self._socket.unbind if self._bound else self._socket.disconnect)(self._reached)
        self._open()

    def remove(self) -> None:
        """Remove the file of a bound socket, unless another one is in its place."""
        if self._path is not None and self._bound and self._found() == self._file:
            self._path.unlink(missing_ok=True)


class _Addressed:
    """A socket with its addresses."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.addresses: list[_Address] = []

    def _bind(self, endpoint: str) -> str:
        """Listen at `endpoint`; return it, with the port that it got. Raises AmocError."""
        self.addresses.append(_Address(self._socket, endpoint, bound=True))
        return self.addresses[-1].endpoint

    def _listen(self, endpoint: str, keys: Keys | None, local: str) -> str:
        """Bind to both addresses; return `endpoint` with its port. `keys` are for it alone.

        ZeroMQ gives an address the options that the socket has when it is bound.
        """
        if local:
            self._bind(local)
        if keys is not None:
            _encrypt(self._socket, keys)
        return self._bind(endpoint)

    def _connect(self, endpoint: str) -> None:
        """Connect to `endpoint`, now or as soon as somebody listens there. Raises AmocError."""
        self.addresses.append(_Address(self._socket, endpoint, bound=False))

    def connect_again(self) -> None:
        """Connect anew: ZeroMQ gives up for good where the other end has no keys, or wants some."""
        for address in self.addresses:
            address.renew()

    def close(self) -> None:
        """Close the socket, and remove its file."""
        for address in self.addresses:
            address.remove()
        self._socket.close()


class SocketWatch:
    """Opens ipc sockets again whose file or directory was removed, while that is `ours` to do."""

    def __init__(self, *sockets: _Addressed, ours: Callable[[], bool] = lambda: True) -> None:
        self._ours = ours
        self._addresses = [address for socket in sockets for address in socket.addresses]
        self._looked = clock.monotonic()
        self._trouble = ""

    def look(self) -> None:
        """Look, once a second at most; the log says what was found."""
        now = clock.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        trouble = ""
        found = set()
        for address in self._addresses:
            directory = address.lost
            if directory is None or not directory.parent.exists():  # nothing can be made there
                continue
            if not self._ours():
                return
            try:
                address.open_again()
            except AmocError as error:
                trouble = str(error)
            else:
                found.add(str(directory))
        for name in sorted(found):
            log.warning("sockets in %s were removed or replaced, and are open again", name)
        if trouble and trouble != self._trouble:
            log.error("%s", trouble)
        self._trouble = trouble


_held: dict[tuple[int, int], int] = {}
"""Descriptors of the directories of ipc sockets, by device and inode, until this process ends:
ZeroMQ's own thread looks there whenever it connects anew, and after a socket is closed."""


def _reached(endpoint: str) -> str:
    """Return the address for ZeroMQ: a socket's file is named through its directory's descriptor.

    So a path may be longer than a socket's address, and whoever renames what the path leads through
    does not change where it leads to. Raises AmocError where the directory is not ours alone.
    """
    if not endpoint.startswith(IPC):
        return endpoint
    path = Path(endpoint.removeprefix(IPC))
    directory = open_private(path.parent)
    found = os.fstat(directory)
    held = _held.setdefault((found.st_dev, found.st_ino), directory)
    if held != directory:
        os.close(directory)
    return f"{IPC}/proc/self/fd/{held}/{path.name}"


def open_private(path: Path) -> int:
    """Return a descriptor of a directory that this user alone can enter, no link to one.

    Raises AmocError for any other.
    """
    try:
        directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise AmocError(f"no sockets can be in {path}: {error.strerror}") from error
    found = os.fstat(directory)
    if found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077:
        return directory
    os.close(directory)
    ours = found.st_uid == os.geteuid()
    raise AmocError(
        f"{path} holds sockets that nobody else may reach: it must be yours and of mode 0700, not "
        f"{owner_name(found.st_uid)}'s and of mode {stat.S_IMODE(found.st_mode):04o}; "
        + (f"chmod 700 {path}" if ours else "remove it")
    )


class Publisher(_Addressed):
    """Publishes to whoever listens at `endpoint`, which has the port in it once it is bound.

    `keys` encrypt that. At `local`, an ipc address, whoever can reach it listens without.
    """

    def __init__(self, endpoint: str, keys: Keys | None = None, local: str = "") -> None:
        # What is published never waits for a listener, so nothing has to wait on the hub.
        super().__init__(_socket(zmq.PUB, socket_class=plain.Socket))
        _mind_the_nodes(self._socket)
        self.endpoint = self._listen(endpoint, keys, local)

    def publish(self, data: bytes) -> None:
        """Send `data` to all subscribers of this moment."""
        self._socket.send(data)

    def tell(self, topic: bytes, *frames: bytes) -> None:
        """Send a message to those who listen to `topic`."""
        *before, last = topic, WIRE, *frames
        for frame in before:
            self._socket.send(frame, MORE)
        self._socket.send(last)


class Subscriber(_Addressed):
    """Receives the orders published at `endpoint`; one that was overtaken by a newer is skipped."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(_socket(zmq.SUB))
        self._socket.conflate = True
        self._socket.subscribe(b"")
        self._connect(endpoint)

    def receive(self) -> bytes:
        """Wait for the next one."""
        return bytes(self._socket.recv())


class Listener(_Addressed):
    """Receives what a master tells about `topics`, over any network."""

    def __init__(self, endpoint: str, topics: Iterable[bytes], keys: Keys | None = None) -> None:
        super().__init__(_socket(zmq.SUB, keys))
        _mind_the_master(self._socket)
        for topic in topics:
            self._socket.subscribe(topic)
        self._socket.ipv6 = True
        events = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED | HANDSHAKE_EVENTS
        self._monitor: Any = self._socket.get_monitor_socket(events)
        self._shaking = False
        self._connect(endpoint)

    def handshake(self) -> Handshake:
        """Wait until a connection's handshake ends; return how.

        `other`: the other end has keys and this one has none, or the other way round. `refused`: it
        went away or was silent, as one is that does not take the key.
        """
        while True:
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            cut_off = event == zmq.EVENT_DISCONNECTED and self._shaking
            self._shaking = event == zmq.EVENT_CONNECTED
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return "done"
            if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                return "other"
            if cut_off or event & HANDSHAKE_EVENTS:
                return "refused"

    def close(self) -> None:
        """Close the socket."""
        self._socket.disable_monitor()
        super().close()

    def receive(self) -> tuple[bytes, list[bytes]]:
        """Wait for the next message; return its topic and its frames. Raises MessageError."""
        topic, *frames = self._socket.recv_multipart()
        return topic, _spoken(frames)


def _spoken(frames: list[bytes]) -> list[bytes]:
    """Return the frames after the one that says who speaks. Raises MessageError."""
    if not frames or not frames[0].startswith(b"amoc "):
        raise MessageError("a message that is none of amoc's")
    if frames[0] != WIRE:
        other = frames[0][:40].decode(errors="replace")
        raise OtherVersionError(f"{other} is not {WIRE.decode()}: install the same everywhere")
    return frames[1:]


class Pusher(_Addressed):
    """Sends reports to `endpoint`; those not sent yet when it closes get `linger` seconds."""

    def __init__(self, endpoint: str, linger: float = 2.0, keys: Keys | None = None) -> None:
        super().__init__(_socket(zmq.PUSH, keys))
        self._socket.linger = int(linger * 1000)
        self._socket.sndhwm = SEND_BUFFER
        _mind_the_master(self._socket)
        self._socket.ipv6 = True
        self._connect(endpoint)

    def push(self, data: bytes) -> bool:
        """Queue `data`; False when the queue is full."""
        try:
            self._socket.send_multipart((WIRE, data), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True


class Puller(_Addressed):
    """Receives the reports sent to `endpoint`, which has the port in it once it is bound.

    `keys` encrypt that. Those sent to `local`, an ipc address, come without.

    Those that come while one that was taken in is followed by `rest` seconds are taken in together:
    that is cheaper than to wake up for each.
    """

    def __init__(
        self, endpoint: str, keys: Keys | None = None, rest: float = 0.0, local: str = ""
    ) -> None:
        super().__init__(_socket(zmq.PULL))
        self._socket.rcvhwm = SEND_BUFFER
        _mind_the_nodes(self._socket)
        self.endpoint = self._listen(endpoint, keys, local)
        self._plain: Any = plain.Socket.shadow(self._socket.underlying)
        self._rest = rest
        self._burst = 0

    def pull(self) -> bytes:
        """Wait for the next report. Raises MessageError for what is none."""
        frames = self._at_hand() or self._rested() or self._socket.recv_multipart()
        self._burst += 1
        frames = _spoken(frames)
        if len(frames) != 1:
            raise MessageError(f"a report of {len(frames)} frames")
        return frames[0]

    def _at_hand(self) -> list[bytes]:
        """Return the next message where one has come and others had their turn, else nothing."""
        if self._burst >= BURST:
            return []
        try:
            frames = [self._plain.recv(NOW)]
        except zmq.Again:
            return []
        while self._plain.getsockopt(zmq.RCVMORE):
            frames.append(self._plain.recv(NOW))
        return frames

    def _rested(self) -> list[bytes]:
        """Let others have their turn; return what has come by then."""
        self._burst = 0
        gevent.sleep(self._rest)
        return self._at_hand()


def finish() -> None:
    """Wait until what was pushed is sent, within each socket's linger, before the process ends."""
    zmq.Context.instance().term()


class SocketDirectory:
    """A directory of mode 0700 for ipc sockets, removed by `close`, or one at `path`, which stays.

    One of a passing command is locked while its process lives: those of processes that were killed
    before they could remove theirs go when one is made. A daemon's is in its home: a user's runtime
    directory goes when that user logs out, and what is in /tmp for long is cleaned away.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = -1
        if path is not None:
            self.path, self._stays = path, True
            return
        self._stays = False
        parent = socket_parent()
        remove_abandoned(parent)
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
        self._lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = made.rename(made.with_name(made.name[1:]))  # only now others may look at it

    def endpoint(self, name: str) -> str:
        """Return the ZeroMQ address of the socket `name` in this directory."""
        return f"{IPC}{self.path / name}"

    def close(self) -> None:
        """Remove the directory, if it was made here; closing twice does no harm."""
        if self._stays:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove_abandoned(parent: Path) -> None:
    """Remove the socket directories in `parent` whose process has ended without removing them."""
    for left in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another one removes it too, or it is another user's
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid != os.geteuid():  # root could, and has no business there
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
