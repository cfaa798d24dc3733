"""Runs a script's handlers in greenlets, and lets its calls wait for slixmpp's futures."""

# slixmpp's signatures are partly untyped, and SleekXMPP's differ from them:
# mypy: disallow-untyped-calls=False, disable-error-code="override"

import asyncio
import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout, XMPPError
from slixmpp.xmlstream import StanzaBase
from slixmpp.xmlstream.handler import Waiter, XMLCallback
from slixmpp.xmlstream.handler.base import BaseHandler
from slixmpp.xmlstream.matcher import MatchXMLMask

from amoc_gevent import user
from amoc_gevent.errors import AmocError
from amoc_gevent.xmpp.sleek import loop, recording, stanza
from amoc_gevent.xmpp.sleek.callers import called_by_slixmpp
from amoc_gevent.xmpp.sleek.events import HandlerQueue
from amoc_gevent.xmpp.sleek.wrappers import event_data

Pointer = Callable[[Any], object]


class EventHandling(slixmpp.BaseXMPP):
    """The part of a stream that runs handlers and waits for results."""

    sleek_handlers: HandlerQueue
    __event_futures: "list[asyncio.Future[None]] | None" = None

    def sleek_result(
        self,
        future: "asyncio.Future[Any]",
        block: bool = True,
        callback: Pointer | None = None,
        timeout_callback: Pointer | None = None,
    ) -> Any:
        """Return the result of a future, pass it to a callback, or drop it if not `block`.

        The callback also gets the IQ of an error, `timeout_callback` the IQ without an answer.
        """
        if callback is None and block:
            return loop.wait(future)

        def tell(done: "asyncio.Future[Any]") -> None:
            error = None if done.cancelled() else done.exception()
            if isinstance(error, IqTimeout):
                if timeout_callback is not None:
                    self.sleek_call(timeout_callback, error.iq)
            elif callback is not None and not done.cancelled():
                answer = error.iq if isinstance(error, IqError) else None
                self.sleek_call(callback, answer if error is not None else done.result())

        future.add_done_callback(tell)
        return None

    def add_event_handler(
        self, name: str, pointer: Pointer, threaded: bool = False, disposable: bool = False
    ) -> None:
        """Call `pointer(data)` for each event `name`, in turn with the other handlers.

        A `threaded` handler gets a new greenlet each time. A `disposable` one is called once.
        """
        if called_by_slixmpp():
            super().add_event_handler(
                name, pointer, disposable or threaded
            )  # in slixmpp's own argument order
        else:
            super().add_event_handler(name, _Handler(self, name, pointer, threaded), disposable)

    def register_handler(self, handler: BaseHandler, before: Any = None, after: Any = None) -> None:
        """Register a stanza handler. It is called like an event handler."""
        if not called_by_slixmpp():
            if isinstance(handler, Waiter):
                waiting = handler.wait
                handler.wait = lambda timeout=None: loop.wait(waiting(timeout))  # type: ignore
            elif hasattr(handler, "_pointer"):
                handler._pointer = _Handler(self, handler.name, handler._pointer, threaded=False)
        super().register_handler(handler, before, after)

    def add_handler(
        self, mask: str, pointer: Pointer, name: str | None = None, disposable: bool = False
    ) -> None:
        """Call `pointer(xml)` for each element that matches the XML in `mask`."""
        matcher = MatchXMLMask(mask, self.default_ns)
        name = name or f"add_handler_{self.new_id()}"
        self.register_handler(XMLCallback(name, matcher, pointer, once=disposable))

    def schedule(
        self,
        name: str,
        seconds: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        repeat: bool = False,
    ) -> None:
        """Call `callback` after `seconds`, or repeatedly, in turn with the handlers."""
        args, kwargs = args or (), kwargs or {}
        if not called_by_slixmpp():
            called = callback

            def callback(*args: Any, **kwargs: Any) -> None:
                self.sleek_call(lambda _: called(*args, **kwargs), None)

        super().schedule(name, seconds, callback, args, kwargs, repeat)  # type: ignore[arg-type]

    def event(self, name: str, data: Any = None, direct: bool = False) -> None:  # noqa: ARG002
        """Trigger an event. `direct` has no effect, because there is no queue to bypass."""
        super().event(name, {} if data is None else data)

    async def event_async(self, name: str, data: Any = None) -> None:
        """Trigger an event for slixmpp and wait for all handlers of the script."""
        handled: list[asyncio.Future[None]] = []
        self.__event_futures = handled
        try:
            self.event(name, data)
        finally:
            self.__event_futures = None
        if handled:
            await asyncio.wait(handled)

    def sleek_call(self, pointer: Pointer, data: Any, threaded: bool = False) -> None:
        """Call a function of the script in the stream's greenlet."""
        done: asyncio.Future[None] | None = None
        if self.__event_futures is not None:
            done = loop.get().create_future()
            self.__event_futures.append(done)

        def work() -> None:
            try:
                pointer(data)
            except Exception as error:  # noqa: BLE001  # the boundary around a handler
                self.__handler_failed(error, data)
            finally:
                if done is not None and not done.done():
                    done.set_result(None)

        (self.sleek_handlers.thread if threaded else self.sleek_handlers.put)(work)

    def sleek_call_for_result(
        self, function: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Call a function of the script in a new greenlet; return a future for its result."""
        future: asyncio.Future[Any] = loop.get().create_future()

        def work() -> None:
            try:
                answer = function(*args)
            except Exception as error:  # noqa: BLE001  # the boundary around a handler
                self.__count(error)
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(answer)

        self.sleek_handlers.thread(work)
        return future

    def __handler_failed(self, error: Exception, data: Any) -> None:
        """Log the error and answer a stanza with an error, like SleekXMPP."""
        getattr(data, "exception", self.exception)(error)
        if not isinstance(data, StanzaBase) or not _deliberate(error):
            self.__count(error)

    def __count(self, error: Exception) -> None:
        """Count the error and raise it as the user's own. Outside a worker it is only logged."""
        recording.handler_errors.add()
        with suppress(AmocError):
            user.spawn(_fail, error)


class _Handler:
    """Wraps a function of the script as a slixmpp handler. It compares equal to the function."""

    __slots__ = ("name", "pointer", "stream", "threaded")

    def __init__(self, stream: EventHandling, name: str, pointer: Pointer, threaded: bool) -> None:
        self.stream = stream
        self.name = name
        self.pointer = pointer
        self.threaded = threaded

    def __call__(self, data: Any) -> None:
        if isinstance(data, stanza.ReplyableStanza):
            if data.handed_over:  # each handler may turn it into an answer
                data = copy.copy(data)
            data.handed_over = True
        else:
            data = event_data(self.stream, self.name, data)
        self.stream.sleek_call(self.pointer, data, self.threaded)

    def __eq__(self, other: object) -> bool:
        return other is self or other == self.pointer

    def __hash__(self) -> int:
        return hash(self.pointer)


def _deliberate(error: Exception) -> bool:
    """Return whether a handler raised it deliberately, as an error answer to a stanza."""
    return isinstance(error, XMPPError) and not isinstance(error, IqError | IqTimeout)


def _fail(error: Exception) -> None:
    """Raise a handler's error in a greenlet of the user, so that it counts as the user's."""
    raise error
