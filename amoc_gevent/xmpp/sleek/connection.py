"""A stream's connection as SleekXMPP has it: made, kept, recorded and ended, by blocking calls."""

# slixmpp's signatures are not all typed, and SleekXMPP's are other ones:
# mypy: disallow-untyped-calls=False, disable-error-code="override"

import asyncio
import logging
import signal
import ssl
from collections.abc import Sequence
from typing import Any

import gevent
import slixmpp
from gevent.event import Event

from amoc_gevent import user
from amoc_gevent.core.xml_tokens import TokenBuffer
from amoc_gevent.errors import AmocError
from amoc_gevent.transport import tls
from amoc_gevent.xmpp.sleek import loop, recording
from amoc_gevent.xmpp.sleek.callers import slixmpp_asks
from amoc_gevent.xmpp.sleek.events import HandlerQueue
from amoc_gevent.xmpp.sleek.handling import Handling

RESPONSE_TIMEOUT = 30.0
GOODBYE = 4.0
"""How long (s) the server may take to close its stream too."""

log = logging.getLogger("sleekxmpp")

default_address: tuple[str, int] | None = None
"""Where streams connect to that are given no address; None: where DNS says."""

_open: set["SleekConnection"] = set()


def join_all() -> None:
    """Wait for the end of all streams and their handlers, as an interpreter does for threads."""
    for stream in list(_open):
        stream.face_join()


class SleekConnection(Handling):
    """The part of a stream that connects and ends."""

    response_timeout = RESPONSE_TIMEOUT
    auto_reconnect = True
    ca_certs: Any
    certfile: str | None = None
    keyfile: str | None = None
    reconnect_max_delay = 600.0

    def _face_prepare(self) -> None:
        """Make what slixmpp's constructor already needs."""
        self._loop = loop.get()
        self.__steps = recording.Steps()
        self.__tokens = TokenBuffer()
        self.face_events = HandlerQueue(self.__cut)
        self.__connected = Event()
        self.session_started_event = Event()
        self.__reattempt = True
        self.__reconnect_delay = 0.0
        self.__stopping = self.__reconnecting = False
        self.face_unanswered: dict[asyncio.Future[Any], slixmpp.Iq] = {}

    def _face_listen(self) -> None:
        """Follow what happens; slixmpp's own handlers were there before."""
        for name, handler in (
            ("connected", self.__on_connected),
            ("connection_failed", self.__on_connection_failed),
            ("ssl_invalid_chain", self.__on_tls_failed),
            ("auth_success", lambda _: self.__steps.done(recording.AUTH)),
            ("failed_auth", self.__on_failed_auth),
            ("failed_all_auth", lambda data: self.event("no_auth", data)),
            ("session_start", self.__on_session_start),
            ("session_end", self.__on_session_end),
            ("disconnected", self.__on_disconnected),
        ):
            slixmpp.BaseXMPP.add_event_handler(self, name, handler)

    def get_ssl_context(self) -> ssl.SSLContext:
        """Return the worker's context for `ca_certs`, `certfile` and `keyfile`.

        As in SleekXMPP, a server's certificate is verified where `ca_certs` is set: to the path of
        authorities, or True for those of the system. Raises UnusableFile for an unusable file.
        """
        cert = (self.certfile, self.keyfile) if self.certfile and self.keyfile else None
        ca = self.ca_certs
        return tls.context(ca if isinstance(ca, bool) else str(ca) if ca else False, cert)

    def init_parser(self) -> None:
        """Begin to read a stream, for slixmpp."""
        self.__tokens = TokenBuffer()
        super().init_parser()

    def data_received(self, data: bytes) -> None:
        """Have slixmpp read what is whole, for asyncio: its parser may leave the rest unread."""
        whole = self.__tokens.feed(data)
        if whole:
            super().data_received(whole)

    async def start_tls(self) -> bool:
        """Negotiate TLS, for slixmpp, and record it."""
        secured = await super().start_tls()
        if secured:
            self.__steps.done(recording.TLS)
        return secured

    async def _attempt_connection(self, *args: Any) -> bool:
        self.__steps.begin()
        return await super()._attempt_connection(*args)

    def _face_link(
        self, address: tuple[Any, ...] | None, reattempt: bool, use_tls: bool, use_ssl: bool
    ) -> bool:
        """Connect and wait until that is done; return whether it is."""
        if use_tls or use_ssl:
            self.get_ssl_context()  # so that it is the caller who hears of an unusable file
        self.enable_direct_tls = use_ssl
        self.enable_starttls = use_tls and not use_ssl
        self.enable_plaintext = not use_tls and not use_ssl
        self.__reattempt = reattempt
        self.__stopping = self.__reconnecting = False
        self.__connected.clear()
        self.face_events.open()
        _open.add(self)
        super().connect(*(address or default_address or (None, None)))
        self.__connected.wait()
        return self.is_connected()

    def process(self, block: bool = False, threaded: bool = True) -> None:
        """Begin to handle events; with `block` (or threaded=False), return when the stream ends.

        Ctrl-C ends the stream.
        """
        self.face_events.begin()
        if block or not threaded:
            try:
                self.face_events.join()
            except KeyboardInterrupt:
                self.event("killed")
                self.__leave()

    def disconnect(self, *args: Any, **options: Any) -> Any:
        """Close the stream with SleekXMPP's arguments: reconnect=False, wait=None, send_close=True.

        It returns when it is closed. What is still to be sent goes first, unless `wait` is False or
        `send_close` is. With `reconnect` it connects again. slixmpp itself gets a future.
        """
        if not slixmpp_asks():
            return self.__leave(*args, **options)
        self.__stopping = not self.__reconnecting
        return super().disconnect(*args, **options)

    def __leave(
        self, reconnect: bool = False, wait: bool | None = None, send_close: bool = True
    ) -> None:
        if reconnect:
            self.reconnect()
            return
        self.__stopping = True
        closed = super().disconnect(
            GOODBYE if send_close else 0.0, ignore_send_queue=wait is False or not send_close
        )
        loop.wait(closed)

    def reconnect(self, *args: Any, **options: Any) -> None:
        """Close the stream and connect again to the same address.

        SleekXMPP's arguments (reattempt, wait, send_close) say nothing that is not done anyway.
        """
        self.__reconnecting = True
        if slixmpp_asks():
            super().reconnect(*args, **options)
        else:
            super().reconnect(GOODBYE)

    def abort(self) -> None:
        """End the connection at once."""
        if not slixmpp_asks():
            self.__stopping = True
        transport = self.transport
        if transport is None or not transport.is_closing():
            super().abort()
            return
        # slixmpp would close it again: Python 3.11.2 then drops its TLS layer, and abort() raises.
        self.cancel_connection_attempt()
        if getattr(transport, "_ssl_protocol", self) is not None:
            transport.abort()
        self.event("killed")

    def use_signals(self, signals: Sequence[str] | None = None) -> None:
        """Disconnect at SIGHUP and SIGTERM, or `signals`; where users run, the worker has them."""
        try:
            _ = user.id
        except AmocError:
            for name in signals or ("SIGHUP", "SIGTERM"):
                gevent.signal_handler(getattr(signal, name), self.__on_signal)

    def face_join(self) -> None:
        """Wait for the end of the stream and of all its handlers."""
        self.face_events.join_threads()

    def __on_signal(self) -> None:
        self.event("killed")
        self.__leave()

    def __on_connected(self, _: object) -> None:
        self.__steps.done(recording.CONNECT)
        self.__connected.set()

    def __on_connection_failed(self, error: object) -> None:
        self.__steps.done(recording.CONNECT, recording.kind_of(error))
        self.event("socket_error", error)
        if not self.__reattempt:
            self.cancel_connection_attempt()
            self.__finish()

    def __on_tls_failed(self, error: object) -> None:
        self.__steps.done(recording.TLS, recording.kind_of(error))
        self.__stopping = True
        super().disconnect(0.0)

    def __on_failed_auth(self, failure: Any) -> None:
        self.__steps.done(recording.AUTH, failure["condition"])

    def __on_session_start(self, _: object) -> None:
        self.__steps.login()
        self.__reconnect_delay = 0.0
        self.session_started_event.set()

    def __on_session_end(self, _: object) -> None:
        self.session_started_event.clear()
        for future, iq in self.face_unanswered.items():
            if not future.done():
                future.set_exception(recording.SessionEnded(iq))

    def __on_disconnected(self, reason: object) -> None:
        self.__steps.login(recording.kind_of(reason) if reason else recording.CUT)
        if self.__reconnecting:
            self.__reconnecting = False  # slixmpp does it
        elif self.auto_reconnect and not self.__stopping:
            self.__reconnect_delay = min(self.__reconnect_delay * 2 + 1, self.reconnect_max_delay)
            loop.get().call_later(self.__reconnect_delay, self.__again)
        else:
            self.__finish()

    def __again(self) -> None:
        if not self.__stopping:
            super().connect(*(self.custom_address or (None, None)))

    def __finish(self) -> None:
        """End the greenlets, when they have handled what happened until now."""
        self.__stopping = True
        self.__on_session_end(None)
        loop.get().call_soon(self.__connected.set)
        loop.get().call_soon(self.face_events.close)

    def __cut(self) -> None:
        """Leave nothing behind: the greenlet of the stream has ended."""
        _open.discard(self)
        self.__stopping = True
        self.__on_session_end(None)
        self.cancel_connection_attempt()
        super().abort()
        for name in list(self.scheduled_events):
            self.cancel_schedule(name)
        if self._run_out_filters is not None:
            self._run_out_filters.cancel()
            self._run_out_filters = None
