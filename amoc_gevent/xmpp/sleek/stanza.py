"""The root stanzas of a stream, with SleekXMPP's `send` and `reply`."""

# slixmpp's signatures are partly untyped, and SleekXMPP's differ from them:
# mypy: disallow-untyped-calls=False, disable-error-code="override"

import asyncio
from collections.abc import Callable
from typing import Any

import slixmpp
from slixmpp.xmlstream import StanzaBase

from amoc_gevent.user import check_load
from amoc_gevent.xmpp.sleek import recording
from amoc_gevent.xmpp.sleek.callers import called_by_slixmpp

Callback = Callable[[Any], object]


class ReplyableStanza(StanzaBase):
    """A stanza that `reply` turns into its own answer if a script calls it.

    `handed_over` is true once a handler of the script has it, so the next one needs a copy.
    """

    handed_over = False
    stream: Any

    def send(self, now: bool = False) -> Any:  # noqa: ARG002  # for SleekXMPP: no effect
        """Send it."""
        check_load()
        return super().send()

    def become(self, answer: StanzaBase) -> Any:
        """Become `answer`, as in SleekXMPP, and return self."""
        self.__init__(self.stream, answer.xml, recv=True)  # type: ignore[misc]
        return self


class Message(ReplyableStanza, slixmpp.Message):
    """A message that `reply` turns into its own answer."""

    def reply(self, body: str | None = None, clear: bool = True) -> Any:
        """Turn this message into its answer, with a body if given, and return it."""
        answer = super().reply(body, clear)
        return answer if called_by_slixmpp() else self.become(answer)


class Presence(ReplyableStanza, slixmpp.Presence):
    """A presence that `reply` turns into its own answer."""

    def reply(self, clear: bool = True) -> Any:
        """Turn this presence into its answer, and return it."""
        answer = super().reply(clear)
        return answer if called_by_slixmpp() else self.become(answer)


class Iq(ReplyableStanza, slixmpp.Iq):
    """An IQ whose `send` blocks its greenlet and returns the answer."""

    def reply(self, clear: bool = True) -> Any:
        """Turn this IQ into its answer, and return it."""
        answer = super().reply(clear)
        return answer if called_by_slixmpp() else self.become(answer)

    def send(self, *args: Any, **options: Any) -> Any:
        """Send it with SleekXMPP's arguments: block, timeout, callback, now, timeout_callback.

        Return the answer, or None with block=False or if there is none. With a `callback` it does
        not block: the callback gets the answer or the error IQ, like an event handler, and
        `timeout_callback` gets this IQ after `timeout` seconds. Otherwise it raises IqError for an
        error, and IqTimeout after `timeout` seconds (None: the stream's `response_timeout`) or
        when the session ends. slixmpp itself gets a future.
        """
        check_load()
        return (
            self.__send(*args, **options) if called_by_slixmpp() else self.__ask(*args, **options)
        )

    def __ask(
        self,
        block: bool = True,
        timeout: float | None = None,
        callback: Callback | None = None,
        now: bool = False,  # noqa: ARG002  # for SleekXMPP: no effect
        timeout_callback: Callback | None = None,
    ) -> Any:
        return self.stream.sleek_result(
            self.__send(None, timeout), block, callback, timeout_callback
        )

    def __send(
        self, callback: Callback | None = None, timeout: float | None = None
    ) -> "asyncio.Future[Any]":
        if timeout is None:
            timeout = self.stream.response_timeout
        future: asyncio.Future[Any] = slixmpp.Iq.send(self, callback, timeout)
        if self["type"] in {"get", "set"}:
            self.stream.sleek_pending[future] = self
            future.add_done_callback(self.stream.sleek_pending.pop)
            recording.iq(self, future)
        return future
