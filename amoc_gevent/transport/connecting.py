"""Opening a stream: addresses in turn, source address, timeouts, TLS handshake."""

import _socket
import errno
import gc
import ssl
from dataclasses import dataclass
from typing import Any

from amoc_gevent import clock
from amoc_gevent.addresses import host_and_port
from amoc_gevent.transport.errors import (
    CONNECT_TIMEOUT,
    NAME_NOT_FOUND,
    TOTAL_TIMEOUT,
    TransportError,
    TransportTimeout,
    from_os_error,
)
from amoc_gevent.transport.names import Address, resolve
from amoc_gevent.transport.secure import TlsTransport
from amoc_gevent.transport.stream import Transport
from amoc_gevent.transport.tls import Tls
from amoc_gevent.transport.waiting import NEVER, Waiter

_SO_TIMESTAMPNS = 35
_IP_BIND_ADDRESS_NO_PORT = 24
_TCP_INFO_SIZE = 104
_RTT, _RETRANSMITS = 68, 100  # offsets of tcpi_rtt (µs) and tcpi_total_retrans

SourceAddress = str | tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Peer:
    """The peer to connect to. `context` makes it a TLS stream; `source` is our address and port."""

    host: str
    port: int
    context: ssl.SSLContext | None = None
    source: SourceAddress = None

    def __str__(self) -> str:
        return host_and_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Limit:
    """The deadlines of a connection attempt (monotonic seconds): its own, and the call's total."""

    peer: Peer
    connect: float
    total: float

    @property
    def deadline(self) -> float:
        """The earlier of the two."""
        return min(self.connect, self.total)

    def passed(self) -> TransportTimeout:
        """Return the error for the deadline that has passed."""
        kind = TOTAL_TIMEOUT if self.total <= self.connect else CONNECT_TIMEOUT
        return TransportTimeout(kind, str(self.peer))


def connect(
    peer: Peer,
    timeout: float = NEVER,
    total_deadline: float = NEVER,
    session: ssl.SSLSession | None = None,
) -> Transport:
    """Return a connected stream. `session` is the TLS session of an earlier one to the same peer.

    `timeout` (seconds) bounds name lookup, TCP and TLS handshake together. Addresses of the host
    are tried in turn. Raises the TransportError of the last one, or TransportTimeout.
    """
    began = clock.monotonic()
    limit = Limit(peer, began + timeout, total_deadline)
    addresses = resolve(peer.host, peer.port, limit.deadline)
    if addresses is None:
        raise limit.passed()
    failure: TransportError | None = None
    for address in addresses:
        try:
            stream = _open(address, limit, session)
        except TransportTimeout:
            raise
        except TransportError as error:
            failure = error
            continue
        stream.connect_us = int((stream.arrived - began) * 1e6)
        if isinstance(stream, TlsTransport):
            _do_handshake(stream, limit)
        return stream
    raise failure or TransportError(NAME_NOT_FOUND, f"{peer} has no address")


def upgrade(
    stream: Transport, context: ssl.SSLContext, name: str, timeout: float = NEVER
) -> TlsTransport:
    """Return a TLS stream that takes over the connection of `stream` (STARTTLS).

    The certificate must be valid for `name`. `timeout` (seconds) bounds the handshake. If it fails,
    the connection is closed and TransportError raised.
    """
    made = TlsTransport(*stream.release(), stream.peer, Tls(context, name))
    made.connect_us = stream.connect_us
    made.read_timeout = stream.read_timeout
    deadline = clock.monotonic() + timeout
    _do_handshake(made, Limit(Peer(stream.peer, 0), deadline, NEVER))
    return made


def _open(address: Address, limit: Limit, session: ssl.SSLSession | None) -> Transport:
    """Return a stream after the TCP handshake. Its `arrived` is the end of the handshake."""
    family, where = address
    peer = limit.peer
    sock = _new_socket(family)
    waiter = Waiter(sock.fileno())
    try:
        _configure(sock, family, peer.source)
        began = clock.monotonic()
        _connect_socket(sock, where, waiter, limit)
        stream: Transport
        if peer.context is None:
            stream = Transport(sock, waiter, str(peer))
        else:
            stream = TlsTransport(
                sock, waiter, str(peer), Tls(peer.context, peer.host.rstrip("."), session)
            )
    except BaseException as error:
        waiter.close()
        sock.close()
        if isinstance(error, OSError):
            raise from_os_error(error, str(peer)) from None
        raise
    stream.arrived = _connected_at(sock, began)
    waiter.watch()
    return stream


def _do_handshake(stream: TlsTransport, limit: Limit) -> None:
    stream.total_deadline = limit.deadline
    try:
        stream.handshake()
    except TransportTimeout:
        stream.close()
        raise limit.passed() from None
    except BaseException:
        stream.close()
        raise
    stream.total_deadline = NEVER


def _connect_socket(sock: _socket.socket, where: Any, waiter: Waiter, limit: Limit) -> None:
    waiter.arm(limit.deadline)
    code = sock.connect_ex(where)
    while code in (errno.EINPROGRESS, errno.EALREADY):
        if waiter.expired:
            raise limit.passed()
        waiter.writable(sock.fileno())
        code = sock.connect_ex(where)
    if code not in (0, errno.EISCONN):
        raise OSError(code, "")


def _connected_at(sock: _socket.socket, began: float) -> float:
    """Return when the TCP handshake ended (monotonic seconds).

    The round trip measured by the kernel does not include time that this process was busy.
    """
    now = clock.monotonic()
    info = sock.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, _TCP_INFO_SIZE)
    rtt = int.from_bytes(info[_RTT : _RTT + 4], "little")
    repeated = int.from_bytes(info[_RETRANSMITS : _RETRANSMITS + 4], "little")
    return now if repeated or not rtt else min(now, began + rtt / 1e6)


def _new_socket(family: int) -> _socket.socket:
    _keep_timestamps_on()
    try:
        return _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise from_os_error(error, "socket") from None
    gc.collect()  # dropped streams in reference cycles still hold descriptors
    try:
        return _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    except OSError as error:
        raise from_os_error(error, "socket") from None


def _configure(sock: _socket.socket, family: int, source: SourceAddress) -> None:
    sock.setblocking(False)
    sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    sock.setsockopt(_socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    if source is not None:
        host, port = (source, 0) if isinstance(source, str) else source
        if not port and family == _socket.AF_INET:
            # the kernel picks the port at connect, so different peers can share one
            sock.setsockopt(_socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((host, port))


_timestamping_socket: _socket.socket | None = None


def _keep_timestamps_on() -> None:
    """Keep one socket with timestamps open, so that the kernel never stops stamping.

    The kernel stamps only while such a socket is open. Stamping begins a moment after the first
    one opens, and each switch on or off costs time.
    """
    global _timestamping_socket  # noqa: PLW0603  # one per process
    if _timestamping_socket is None:
        _timestamping_socket = _socket.socket(
            _socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC
        )
        _timestamping_socket.setsockopt(_socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
