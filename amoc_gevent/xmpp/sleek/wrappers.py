"""Wrappers that give slixmpp's objects SleekXMPP's API: methods block and return results."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from slixmpp.plugins import BasePlugin
from slixmpp.plugins.xep_0047 import IBBytestream

from amoc_gevent.xmpp.sleek import loop
from amoc_gevent.xmpp.sleek.names import snake_case

Override = Callable[..., Any]
"""Replaces a SleekXMPP method. It gets the stream, slixmpp's object and the arguments."""

_OVERRIDES: dict[tuple[str, str], Override] = {}
_STEPS = ("next", "error", "cancel")


class WrappingStream(Protocol):
    """The stream of a wrapper. It calls the script's functions and waits for slixmpp's futures."""

    def sleek_result(
        self,
        future: "asyncio.Future[Any]",
        block: bool = True,
        callback: Callable[[Any], object] | None = None,
        timeout_callback: Callable[[Any], object] | None = None,
    ) -> Any:
        """Return the result of a future, or pass it to a callback."""

    def sleek_call(self, pointer: Callable[[Any], object], data: Any) -> None:
        """Call a function of the script in the stream's greenlet."""


def override(kind: str, name: str) -> Callable[[Override], Override]:
    """Register a replacement for method `name` of the plugin or class `kind`.

    Use it where slixmpp's method does not simply return a future.
    """

    def register(function: Override) -> Override:
        _OVERRIDES[kind, name] = function
        return function

    return register


class ObjectWrapper:
    """Wraps an object of slixmpp. Its methods take `block`, `timeout` and `callback`.

    Methods have SleekXMPP's and slixmpp's names. They return the result where slixmpp returns a
    future. With `block=False` or a `callback` they return at once. The callback gets the result, or
    the IQ of an error.
    """

    __slots__ = ("_kind", "_object", "_stream")

    def __init__(self, stream: WrappingStream, wrapped_object: Any) -> None:
        set_own = object.__setattr__
        set_own(self, "_stream", stream)
        set_own(self, "_object", wrapped_object)
        plugin = isinstance(wrapped_object, BasePlugin)
        set_own(self, "_kind", wrapped_object.name if plugin else type(wrapped_object).__name__)

    def __getattr__(self, name: str) -> Any:
        special = _OVERRIDES.get((self._kind, name))
        if special is not None:
            return lambda *args, **options: special(self._stream, self._object, *args, **options)
        found = getattr(self._object, name, None)
        if found is None and not hasattr(self._object, name):
            found = getattr(self._object, snake_case(name))
        return _MethodWrapper(self._stream, found) if inspect.isroutine(found) else found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._object, name, value)

    def __eq__(self, other: object) -> bool:
        return bool(self._object == (other._object if isinstance(other, ObjectWrapper) else other))

    def __hash__(self) -> int:
        return hash(self._object)


class _MethodWrapper:
    """Wraps a bound method of slixmpp."""

    __slots__ = ("_method", "_stream")

    def __init__(self, stream: WrappingStream, method: Any) -> None:
        self._stream = stream
        self._method = method

    def __call__(
        self,
        *args: Any,
        block: bool = True,
        callback: Any = None,
        timeout_callback: Any = None,
        **options: Any,
    ) -> Any:
        options.pop("now", None)
        for argument in (*args, *options.values()):
            if type(argument) is dict:
                _wrap_steps(self._stream, argument)
        result = self._method(*args, **options)
        if not inspect.isawaitable(result):
            if callback is not None:
                self._stream.sleek_call(callback, result)
            return wrapped(self._stream, result)
        future = asyncio.ensure_future(result, loop=loop.get())
        return wrapped(
            self._stream, self._stream.sleek_result(future, block, callback, timeout_callback)
        )


def _wrap_steps(stream: WrappingStream, session: dict[str, Any]) -> None:
    """Wrap the steps of a command's session (XEP-0050), so that they run like handlers."""
    for step in _STEPS:
        function = session.get(step)
        if callable(function) and not isinstance(function, _CommandStep):
            session[step] = _CommandStep(stream, function)


class _CommandStep:
    """A function of the script that slixmpp calls with an IQ and a session."""

    __slots__ = ("_function", "_stream")

    def __init__(self, stream: WrappingStream, function: Callable[[Any, Any], object]) -> None:
        self._stream = stream
        self._function = function

    def __call__(self, iq: Any, session: Any) -> None:
        self._stream.sleek_call(lambda iq: self._function(iq, session), iq)


def wrapped(stream: WrappingStream, thing: Any) -> Any:
    """Return the object that the script gets for an object of slixmpp."""
    if isinstance(thing, IBBytestream):
        return ObjectWrapper(stream, thing)
    if hasattr(thing, "__aiter__"):
        return _iterate(stream, aiter(thing))
    return thing


def event_data(stream: WrappingStream, event: str, data: Any) -> Any:
    """Return the data that a handler of the script gets for the data of slixmpp's event."""
    if event == "ibb_stream_data":
        return {"stream": wrapped(stream, data), "data": data.recv_queue._queue[-1]}  # the newest
    return wrapped(stream, data)


def _iterate(stream: WrappingStream, items: AsyncIterator[Any]) -> Iterator[Any]:
    """Iterate over items that slixmpp fetches page by page. Fetching a page blocks."""
    while True:
        try:
            yield stream.sleek_result(asyncio.ensure_future(_next(items), loop=loop.get()))
        except StopAsyncIteration:
            return


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items)


@override("IBBytestream", "recv")
@override("IBBytestream", "read")
def _read(
    stream: WrappingStream, bytestream: Any, block: bool = True, timeout: float | None = None
) -> bytes:
    """Return one block of data from the peer; wait until there is one."""
    if not block:
        data: bytes = bytestream.read()
        return data
    waiting = asyncio.wait_for(bytestream.recv_queue.get(), timeout)
    sent: bytes = stream.sleek_result(asyncio.ensure_future(waiting, loop=loop.get()))
    return sent
