"""The worker's asyncio loop, run by a greenlet on gevent's hub.

The loop's file descriptors are in an epoll set of their own, and the hub watches the descriptor of
that set. The loop's greenlet sleeps in the hub until a descriptor is ready, a timer is due or
another greenlet schedules work. There is no polling, locking or self-pipe.

slixmpp runs on the loop's greenlet and awaits. All other code waits in its own greenlet.
"""

import asyncio
import selectors
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

import gevent
from gevent import monkey
from gevent.event import Event
from greenlet import getcurrent, greenlet

from amoc_gevent import clock
from amoc_gevent.errors import AmocError

T = TypeVar("T")

_epoll = monkey.get_original(
    "select", "epoll"
)  # gevent removes it from select, because polling it blocks

TURNS_MAX = 8
"""Turns of a busy loop before the other greenlets get one."""


class HubSelector(selectors.BaseSelector):
    """The loop's selector: an epoll set that gevent's hub watches, for one greenlet."""

    def __init__(self) -> None:
        self._hub = gevent.get_hub()
        self._epoll = _epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._sleeper: greenlet | None = None
        self._turns = 0
        self._timer: Any = None
        self._due = 0.0
        self._watcher = self._hub.loop.io(self._epoll.fileno(), 1)
        self._watcher.start(self.wake)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Start to watch a descriptor for EVENT_READ and EVENT_WRITE."""
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"descriptor {fd} is already registered")
        self._epoll.register(fd, _mask(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Stop watching a descriptor. The kernel has already removed a closed one."""
        key = self._keys.pop(_descriptor(fileobj))
        with suppress(OSError):
            self._epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Change the watched events and the data."""
        fd = _descriptor(fileobj)
        known = self._keys[fd]
        if events != known.events:
            self._epoll.modify(fd, _mask(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return the key of a descriptor. Raises KeyError if it is not registered."""
        return self._keys[_descriptor(fileobj)]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return all keys by descriptor."""
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the ready keys, after at most `timeout` seconds (None: no limit)."""
        if timeout is None or timeout > 0:
            self._sleep(timeout)
        elif self._turns >= TURNS_MAX:
            self._turns = 0
            self._hub.loop.run_callback(getcurrent().switch)
            self._hub.switch()
        else:
            self._turns += 1
        ready = self._epoll.poll(0, len(self._keys) or 1)
        return [(self._keys[fd], _events(mask)) for fd, mask in ready if fd in self._keys]

    def wake(self) -> None:
        """Wake the loop's greenlet if it sleeps, because the loop has work."""
        if self._sleeper is not None:
            self._hub.loop.run_callback(self._sleeper.switch)
            self._sleeper = None

    def close(self) -> None:
        """Close the watcher, the timer and the epoll set."""
        self._watcher.close()
        if self._timer is not None:
            self._timer.close()
        self._epoll.close()
        self._keys.clear()

    def _sleep(self, timeout: float | None) -> None:
        if timeout is not None:
            self._set_timer(timeout)
        self._turns = 0
        self._sleeper = getcurrent()
        self._hub.switch()

    def _set_timer(self, timeout: float) -> None:
        """Ensure a timer that is due within `timeout` seconds. One that is too early costs a turn.

        Reusing a pending timer makes the loop's distant timers, nearly always the next ones, free.
        """
        now = clock.monotonic()
        if self._timer is not None:
            if now < self._due <= now + timeout:
                return
            self._timer.close()
        self._due = now + timeout
        self._timer = self._hub.loop.timer(timeout)
        self._timer.start(self.wake, update=True)


def _descriptor(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


def _mask(events: int) -> int:
    """Turn EVENT_READ and EVENT_WRITE into EPOLLIN and EPOLLOUT."""
    return (events & 1) | (events & 2) << 1


def _events(mask: int) -> int:
    """Turn an epoll mask into events. An error means both, as in the standard library."""
    return (selectors.EVENT_READ if mask & ~4 else 0) | (selectors.EVENT_WRITE if mask & ~1 else 0)


class HubLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, extended to accept work from every greenlet of its thread."""

    def __init__(self) -> None:
        self._hub_selector = HubSelector()
        super().__init__(self._hub_selector)

    def call_soon(  # type: ignore[override]  # the arguments pass through
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback like asyncio, and wake the loop."""
        handle = super().call_soon(callback, *args, context=context)
        self._hub_selector.wake()
        return handle

    def call_at(  # type: ignore[override]  # the arguments pass through
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Schedule a callback at a time like asyncio; wake the loop to reset its timer."""
        handle = super().call_at(when, callback, *args, context=context)
        self._hub_selector.wake()
        return handle

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Look up a name with gevent's resolver, in a greenlet."""
        found: asyncio.Future[Any] = self.create_future()
        gevent.spawn(_look_up, found, self._hub_selector._hub.resolver, host, port, options)
        return await found


def _look_up(
    found: "asyncio.Future[Any]", resolver: Any, host: Any, port: Any, options: dict[str, Any]
) -> None:
    try:
        result = resolver.getaddrinfo(host, port, **options)
    except (socket.gaierror, UnicodeError) as error:
        if not found.done():
            found.set_exception(error)
    else:
        if not found.done():
            found.set_result(result)


class _State:
    """The loop of this process, and the greenlet that runs it."""

    loop: HubLoop | None = None
    runner: greenlet | None = None


def get() -> HubLoop:
    """Return the loop of this process. Start it if it does not run yet."""
    if _State.loop is None:
        _State.loop = HubLoop()
        hub = gevent.get_hub()
        _State.runner = greenlet(_run, parent=hub)  # a child of the hub: it outlives every user
        hub.loop.run_callback(_State.runner.switch, _State.loop)
        gevent.sleep(0)
    return _State.loop


def _run(loop: HubLoop) -> None:
    try:
        loop.run_forever()
    except BaseException:  # noqa: BLE001  # the boundary of the loop: the hub must outlive it
        gevent.get_hub().handle_error(loop, *sys.exc_info())
    finally:
        _State.loop = _State.runner = None


def wait(awaitable: Awaitable[T]) -> T:
    """Block this greenlet until a coroutine or future is done; return its result or raise.

    Any other end of the wait (a gevent.Timeout, the end of the user) cancels it. Raises AmocError
    on the loop's own greenlet, which must not wait for itself.
    """
    if getcurrent() is _State.runner:
        asyncio.ensure_future(awaitable).cancel()
        raise AmocError("slixmpp called this function on its loop, where nothing may block")
    future = asyncio.ensure_future(awaitable, loop=get())
    if not future.done():
        done = Event()
        future.add_done_callback(lambda _: done.set())
        try:
            done.wait()
        except BaseException:
            future.cancel()
            raise
    return future.result()
