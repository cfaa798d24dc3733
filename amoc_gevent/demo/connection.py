"""One client's connection to the demo server. It replies to requests in order and never blocks.

A connection has no greenlet: the hub calls `_read` when bytes arrive. Cacheable replies are cached
by the bytes of their request, so a repeated request need not be parsed.
"""

import _socket
import logging
import ssl
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import IPPROTO_TCP, SHUT_WR, SO_LINGER, SOL_SOCKET, TCP_NODELAY
from typing import TYPE_CHECKING, Protocol

from amoc_gevent.demo.counts import Counts, Tally
from amoc_gevent.demo.messages import AfterReply, PageAnswer, Reply, Request
from amoc_gevent.demo.pages import COUNT
from amoc_gevent.demo.reader import RequestReader
from amoc_gevent.demo.tls import TlsFilter

if TYPE_CHECKING:
    from gevent._types import _IoWatcher, _Loop, _TimerWatcher

READ, WRITE = 1, 2  # EV_READ and EV_WRITE of libev
RECEIVE_SIZE = 1 << 14
CACHE_MAX = 1 << 25  # bytes of all cached requests and replies together
CACHED_REPLY_MAX = 1 << 14
LINGER = 2.0

log = logging.getLogger(__name__)


class RequestHandler(Protocol):
    """Answers the requests to a server, and counts them."""

    counts: Counts

    def answer(self, request: Request) -> PageAnswer | Reply:
        """Return the answer to `request`. The caller has already counted it."""


@dataclass(slots=True)
class Service:
    """The state that the connections of one server share.

    `cache` holds replies by the bytes of their request, each with the tally that counts it.
    """

    loop: "_Loop"
    pages: RequestHandler
    context: ssl.SSLContext | None = None
    cache: dict[bytes, tuple[Reply, Tally]] = field(default_factory=dict)
    cache_size: int = 0
    open: set["ServedConnection"] = field(default_factory=set)

    def remember(self, request: Request, reply: Reply) -> None:
        """Cache `reply` for requests with the same bytes. Empty the cache first if it is full."""
        if len(reply.data) > CACHED_REPLY_MAX:
            return
        self.cache_size += len(request.raw) + len(reply.data)
        if self.cache_size > CACHE_MAX:
            self.cache.clear()
            self.cache_size = 0
        tally = self.pages.counts.tally(request.method, request.path)
        self.cache[request.raw] = (reply, tally)


class ServedConnection:
    """Answers one client until either side closes."""

    __slots__ = (
        "_cache",
        "_client",
        "_ending",
        "_queue",
        "_reader",
        "_reading",
        "_resting",
        "_service",
        "_sock",
        "_timer",
        "_tls",
        "_unsent",
        "_watcher",
        "_writer",
    )

    def __init__(self, service: Service, sock: _socket.socket, client: str) -> None:
        self._service = service
        self._cache = service.cache
        self._sock = sock
        self._client = client
        self._tls = None if service.context is None else TlsFilter(service.context)
        self._reader: RequestReader | None = None
        self._queue: deque[Request | Reply] = deque()
        self._unsent: bytes | memoryview = b""
        self._ending: AfterReply | None = None  # set by the last reply; no more answers
        self._timer: _TimerWatcher | None = None  # runs while a reply or the end is delayed
        self._writer: _IoWatcher | None = None  # runs while something is unsent
        self._resting = True  # nothing of the above is pending and no request is half read
        sock.setblocking(False)
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._watcher: _IoWatcher | None = service.loop.io(sock.fileno(), READ)
        self._reading = False
        self._read_on(True)
        service.open.add(self)

    def close(self) -> None:
        """Close at once, even if replies are pending."""
        if self._watcher is None:
            return
        for watcher in (self._watcher, self._writer, self._timer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._watcher = self._writer = self._timer = None
        self._ending = AfterReply.CLOSE
        self._resting = False
        self._queue.clear()
        self._sock.close()
        self._service.open.discard(self)

    def _guard(self, step: Callable[..., None], *arguments: object) -> None:
        """Boundary: an error in one connection closes only that one."""
        try:
            step(*arguments)
        except OSError:
            self.close()  # the client is gone
        except Exception:
            log.exception("connection of %s", self._client)
            self.close()

    def _read(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        if self._tls is not None and data:
            plain = self._decrypt(self._tls, data)
            if plain == b"":
                return
            data = plain or b""
        cached = self._cache.get(data) if self._resting else None
        if cached is None:
            self._take(data)
            return
        reply, tally = cached
        tally.n += 1
        if reply.delay:
            self._wait(reply)
        else:
            self._write(reply.data)

    def _decrypt(self, tls: TlsFilter, data: bytes) -> bytes | None:
        try:
            return tls.decrypt(data)
        except ssl.SSLError:
            return None  # not TLS, or broken: the alert tells the client
        finally:
            if pending := tls.pending():
                self._send(pending)

    def _take(self, data: bytes) -> None:
        """Read requests from `data` and reply to the complete ones."""
        if not data:
            self.close()
            return
        if self._ending is not None:
            return  # after the last reply, read only to notice the end of the stream
        if self._reader is None:
            self._reader = RequestReader(self._client)
        items = self._reader.feed(data)
        for item in items:
            if isinstance(item, Request) and not _uncounted(item.path):
                self._service.pages.counts.tally(item.method, item.path).n += 1
        self._queue.extend(items)
        self._work()

    def _work(self) -> None:
        """Reply to the queued requests in order, until a reply is delayed."""
        out = []
        while self._queue and self._ending is None and self._timer is None and not self._unsent:
            item = self._queue.popleft()
            reply = item if isinstance(item, Reply) else self._reply_to(item)
            if reply.delay:
                self._wait(reply)
                break
            out.append(reply.data)
            if reply.after is not AfterReply.KEEP_OPEN:
                self._ending = reply.after
        if out:
            self._write(b"".join(out))
        self._settle()

    def _reply_to(self, request: Request) -> Reply:
        answer = self._service.pages.answer(request)
        if isinstance(answer, Reply):
            return answer
        data = answer.encode(request.method, request.version, keep_alive=request.keep_alive)
        after = AfterReply.KEEP_OPEN if request.keep_alive else AfterReply.CLOSE
        reply = Reply(data, after, answer.delay)
        if answer.cacheable and request.raw and request.keep_alive:
            self._service.remember(request, reply)
        return reply

    def _wait(self, reply: Reply) -> None:
        self._resting = False
        self._start_timer(reply.delay, self._due, reply)

    def _due(self, reply: Reply) -> None:
        self._stop_timer()
        if reply.after is not AfterReply.KEEP_OPEN:
            self._ending = reply.after
        self._write(reply.data)
        self._work()

    def _settle(self) -> None:
        """Once all bytes are sent, read on or end the connection."""
        if self._watcher is None or self._unsent:
            return
        if self._ending is not None:
            self._queue.clear()
        if self._ending is AfterReply.CLOSE:
            self._linger()
        elif self._ending is AfterReply.RESET:
            self._sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            self.close()
        else:
            waiting = self._timer is not None or self._ending is not None
            in_request = self._reader is not None and self._reader.in_request
            self._resting = not (waiting or in_request or self._queue)
            self._read_on(not self._queue)

    def _linger(self) -> None:
        """Shut down sending and read until the client closes. A reset could destroy the reply."""
        self._resting = False
        if self._timer is None:
            if self._tls is not None:
                self._send(self._tls.close_notify())
            self._sock.shutdown(SHUT_WR)
            self._start_timer(LINGER, self.close)
        self._read_on(True)

    def _write(self, data: bytes) -> None:
        self._send(data if self._tls is None else self._tls.encrypt(data))

    def _send(self, data: bytes) -> None:
        if self._unsent:
            self._unsent = b"".join((self._unsent, data))
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._resting = False
            self._read_on(False)
            self._writer = self._service.loop.io(self._sock.fileno(), WRITE)
            self._writer.start(self._guard, self._writable)

    def _writable(self) -> None:
        sent = self._sock.send(self._unsent)
        self._unsent = self._unsent[sent:]
        if not self._unsent and self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None
            self._work()

    def _read_on(self, on: bool) -> None:
        if on == self._reading or self._watcher is None:
            return
        self._reading = on
        if on:
            self._watcher.start(self._guard, self._read)
        else:
            self._watcher.stop()

    def _start_timer(self, seconds: float, step: Callable[..., None], *arguments: object) -> None:
        self._timer = self._service.loop.timer(seconds)
        self._timer.start(self._guard, step, *arguments, update=True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None


def _uncounted(path: str) -> bool:
    return path == COUNT or path.startswith(COUNT + "/")
