"""slixmpp's objects as a SleekXMPP script sees them: their methods block and return results."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from slixmpp.plugins import BasePlugin
from slixmpp.plugins.xep_0047 import IBBytestream

from amoc_gevent.xmpp.sleek import loop
from amoc_gevent.xmpp.sleek.names import modern

Otherwise = Callable[..., Any]
"""Does what a SleekXMPP method does, called with the stream, slixmpp's object and the arguments."""

_OTHERWISE: dict[tuple[str, str], Otherwise] = {}
_STEPS = ("next", "error", "cancel")


class FacedStream(Protocol):
    """The stream of a face: it calls the script's functions and waits for slixmpp's futures."""

    def face_settle(
        self,
        future: "asyncio.Future[Any]",
        block: bool = True,
        callback: Callable[[Any], object] | None = None,
        timeout_callback: Callable[[Any], object] | None = None,
    ) -> Any:
        """Return the result of a future, or hand it to a callback."""

    def face_hand_over(self, pointer: Callable[[Any], object], data: Any) -> None:
        """Call a function of the script in its greenlet."""


def otherwise(kind: str, name: str) -> Callable[[Otherwise], Otherwise]:
    """Have a function stand for method `name` of a plugin, or of another class, called `kind`.

    That is for what slixmpp does in another way than by a future.
    """

    def note(function: Otherwise) -> Otherwise:
        _OTHERWISE[kind, name] = function
        return function

    return note


class Face:
    """One object of slixmpp: attributes are its own, methods take `block`, `timeout`, `callback`.

    A method goes by SleekXMPP's name or by slixmpp's. It returns the result, where slixmpp's gives
    a future. With `block=False` it returns at once; with a `callback` too, which is called with the
    result later, and with the IQ of an error.
    """

    __slots__ = ("_kind", "_object", "_stream")

    def __init__(self, stream: FacedStream, faced: Any) -> None:
        set_own = object.__setattr__
        set_own(self, "_stream", stream)
        set_own(self, "_object", faced)
        plugin = isinstance(faced, BasePlugin)
        set_own(self, "_kind", faced.name if plugin else type(faced).__name__)

    def __getattr__(self, name: str) -> Any:
        special = _OTHERWISE.get((self._kind, name))
        if special is not None:
            return lambda *args, **options: special(self._stream, self._object, *args, **options)
        found = getattr(self._object, name, None)
        if found is None and not hasattr(self._object, name):
            found = getattr(self._object, modern(name))
        return _Method(self._stream, found) if inspect.isroutine(found) else found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._object, name, value)

    def __eq__(self, other: object) -> bool:
        return bool(self._object == (other._object if isinstance(other, Face) else other))

    def __hash__(self) -> int:
        return hash(self._object)


class _Method:
    """A bound method of slixmpp's."""

    __slots__ = ("_method", "_stream")

    def __init__(self, stream: FacedStream, method: Any) -> None:
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
                _have_called(self._stream, argument)
        result = self._method(*args, **options)
        if not inspect.isawaitable(result):
            if callback is not None:
                self._stream.face_hand_over(callback, result)
            return shown(self._stream, result)
        future = asyncio.ensure_future(result, loop=loop.get())
        return shown(
            self._stream, self._stream.face_settle(future, block, callback, timeout_callback)
        )


def _have_called(stream: FacedStream, session: dict[str, Any]) -> None:
    """Have the steps of a command's session (XEP-0050) called as handlers are."""
    for step in _STEPS:
        function = session.get(step)
        if callable(function) and not isinstance(function, _Step):
            session[step] = _Step(stream, function)


class _Step:
    """A function of the script that slixmpp calls with an IQ and a session."""

    __slots__ = ("_function", "_stream")

    def __init__(self, stream: FacedStream, function: Callable[[Any, Any], object]) -> None:
        self._stream = stream
        self._function = function

    def __call__(self, iq: Any, session: Any) -> None:
        self._stream.face_hand_over(lambda iq: self._function(iq, session), iq)


def shown(stream: FacedStream, thing: Any) -> Any:
    """Return what the script gets for something that slixmpp hands out."""
    if isinstance(thing, IBBytestream):
        return Face(stream, thing)
    if hasattr(thing, "__aiter__"):
        return _one_by_one(stream, aiter(thing))
    return thing


def told(stream: FacedStream, event: str, data: Any) -> Any:
    """Return what a handler of the script gets for what slixmpp's event brings."""
    if event == "ibb_stream_data":
        return {"stream": shown(stream, data), "data": data.recv_queue._queue[-1]}  # the newest
    return shown(stream, data)


def _one_by_one(stream: FacedStream, items: AsyncIterator[Any]) -> Iterator[Any]:
    """Go through what slixmpp fetches page by page; each page blocks."""
    while True:
        try:
            yield stream.face_settle(asyncio.ensure_future(_next(items), loop=loop.get()))
        except StopAsyncIteration:
            return


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items)


@otherwise("IBBytestream", "recv")
@otherwise("IBBytestream", "read")
def _read(
    stream: FacedStream, bytestream: Any, block: bool = True, timeout: float | None = None
) -> bytes:
    """Return what the peer has sent in one piece; block until there is some."""
    if not block:
        data: bytes = bytestream.read()
        return data
    waiting = asyncio.wait_for(bytestream.recv_queue.get(), timeout)
    sent: bytes = stream.face_settle(asyncio.ensure_future(waiting, loop=loop.get()))
    return sent
