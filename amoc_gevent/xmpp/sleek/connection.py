"""The connection of a stream with SleekXMPP's blocking calls: connect, reconnect, close."""

# slixmpp's signatures are partly untyped, and SleekXMPP's differ from them:
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
from amoc_gevent.xmpp.sleek.callers import called_by_slixmpp
from amoc_gevent.xmpp.sleek.events import HandlerQueue
from amoc_gevent.xmpp.sleek.handling import EventHandling

RESPONSE_TIMEOUT = 30.0
CLOSE_TIMEOUT = 4.0
"""Seconds to wait for the server to close its stream too."""

log = logging.getLogger("sleekxmpp")

default_address: tuple[str, int] | None = None
"""The address for streams that are given none; None: look it up in DNS."""

_open: set["SleekConnection"] = set()


def join_all() -> None:
    """Wait until all streams and their handlers end, as the interpreter does for threads."""
    for stream in list(_open):
        stream.sleek_join()


class SleekConnection(EventHandling):
    """The part of a stream that opens and closes its connection."""

    response_timeout = RESPONSE_TIMEOUT
    auto_reconnect = True
    ca_certs: Any
    certfile: str | None = None
    keyfile: str | None = None
    reconnect_max_delay = 600.0

    def _sleek_prepare(self) -> None:
        """Create the attributes that slixmpp's constructor uses."""
        self._loop = loop.get()
        self.__steps = recording.Steps()
        self.__tokens = TokenBuffer()
        self.sleek_handlers = HandlerQueue(self.__discard)
        self.__connected = Event()
        self.session_started_event = Event()
        self.__reattempt = True
        self.__reconnect_delay = 0.0
        self.__stopping = self.__reconnecting = False
        self.sleek_pending: dict[asyncio.Future[Any], slixmpp.Iq] = {}

    def _sleek_add_listeners(self) -> None:
        """Listen to slixmpp's events, after slixmpp's own handlers."""
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

        As in SleekXMPP, the server's certificate is verified only if `ca_certs` is set: to the path
        of a CA file, or True for the system's. Raises UnusableFile for an unusable file.
        """
        cert = (self.certfile, self.keyfile) if self.certfile and self.keyfile else None
        ca = self.ca_certs
        return tls.context(ca if isinstance(ca, bool) else str(ca) if ca else False, cert)

    def init_parser(self) -> None:
        """Start to parse a stream; called by slixmpp."""
        self.__tokens = TokenBuffer()
        super().init_parser()

    def data_received(self, data: bytes) -> None:
        """Pass whole tokens to slixmpp, whose parser may leave partial ones; called by asyncio."""
        whole = self.__tokens.feed(data)
        if whole:
            super().data_received(whole)

    async def start_tls(self) -> bool:
        """Negotiate TLS and record it; called by slixmpp."""
        secured = await super().start_tls()
        if secured:
            self.__steps.done(recording.TLS)
        return secured

    async def _attempt_connection(self, *args: Any) -> bool:
        self.__steps.begin()
        return await super()._attempt_connection(*args)

    def _sleek_connect(
        self, address: tuple[Any, ...] | None, reattempt: bool, use_tls: bool, use_ssl: bool
    ) -> bool:
        """Connect and wait for the result; return whether the stream is connected."""
        user.check_load()
        if use_tls or use_ssl:
            self.get_ssl_context()  # raises to the caller if a file is unusable
        self.enable_direct_tls = use_ssl
        self.enable_starttls = use_tls and not use_ssl
        self.enable_plaintext = not use_tls and not use_ssl
        self.__reattempt = reattempt
        self.__stopping = self.__reconnecting = False
        self.__connected.clear()
        self.sleek_handlers.open()
        _open.add(self)
        super().connect(*(address or default_address or (None, None)))
        self.__connected.wait()
        return self.is_connected()

    def process(self, block: bool = False, threaded: bool = True) -> None:
        """Start to handle events. With `block` (or threaded=False), return when the stream ends.

        Ctrl-C ends the stream.
        """
        self.sleek_handlers.begin()
        if block or not threaded:
            try:
                self.sleek_handlers.join()
            except KeyboardInterrupt:
                self.event("killed")
                self.__close()

    def disconnect(self, *args: Any, **options: Any) -> Any:
        """Close the stream with SleekXMPP's arguments: reconnect=False, wait=None, send_close=True.

        Return when the stream is closed. Queued stanzas are sent first, unless `wait` or
        `send_close` is False. With `reconnect`, connect again. slixmpp itself gets a future.
        """
        if not called_by_slixmpp():
            return self.__close(*args, **options)
        self.__stopping = not self.__reconnecting
        return super().disconnect(*args, **options)

    def __close(
        self, reconnect: bool = False, wait: bool | None = None, send_close: bool = True
    ) -> None:
        if reconnect:
            self.reconnect()
            return
        self.__stopping = True
        closed = super().disconnect(
            CLOSE_TIMEOUT if send_close else 0.0, ignore_send_queue=wait is False or not send_close
        )
        loop.wait(closed)

    def reconnect(self, *args: Any, **options: Any) -> None:
        """Close the stream and connect again to the same address.

        SleekXMPP's arguments (reattempt, wait, send_close) have no effect.
        """
        self.__reconnecting = True
        if called_by_slixmpp():
            super().reconnect(*args, **options)
        else:
            super().reconnect(CLOSE_TIMEOUT)

    def abort(self) -> None:
        """End the connection at once."""
        if not called_by_slixmpp():
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
        """Disconnect on SIGHUP and SIGTERM, or `signals`. A worker handles them itself."""
        try:
            _ = user.id
        except AmocError:
            for name in signals or ("SIGHUP", "SIGTERM"):
                gevent.signal_handler(getattr(signal, name), self.__on_signal)

    def sleek_join(self) -> None:
        """Wait until the stream and all its handlers end."""
        self.sleek_handlers.join_threads()

    def __on_signal(self) -> None:
        self.event("killed")
        self.__close()

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
        for future, iq in self.sleek_pending.items():
            if not future.done():
                future.set_exception(recording.SessionEnded(iq))

    def __on_disconnected(self, reason: object) -> None:
        self.__steps.login(recording.kind_of(reason) if reason else recording.CUT)
        if self.__reconnecting:
            self.__reconnecting = False  # slixmpp reconnects
        elif self.auto_reconnect and not self.__stopping:
            self.__reconnect_delay = min(self.__reconnect_delay * 2 + 1, self.reconnect_max_delay)
            loop.get().call_later(self.__reconnect_delay, self.__reconnect_now)
        else:
            self.__finish()

    def __reconnect_now(self) -> None:
        if not self.__stopping:
            super().connect(*(self.custom_address or (None, None)))

    def __finish(self) -> None:
        """End the greenlets once they have handled the events so far."""
        self.__stopping = True
        self.__on_session_end(None)
        loop.get().call_soon(self.__connected.set)
        loop.get().call_soon(self.sleek_handlers.close)

    def __discard(self) -> None:
        """Release everything: the greenlet of the stream has ended."""
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
