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
from amoc_gevent.errors import AmocError
from amoc_gevent.transport import tls
from amoc_gevent.xmpp.sleek import loop, recording
from amoc_gevent.xmpp.sleek.callers import slixmpp_asks
from amoc_gevent.xmpp.sleek.events import Events
from amoc_gevent.xmpp.sleek.handling import Handling

RESPONSE_TIMEOUT = 30.0
GOODBYE = 4.0
"""How long (s) the server may take to close its stream too."""

default_address: tuple[str, int] | None = None
"""Where streams connect to that are given no address; None: where DNS says."""

_open: set["Connection"] = set()


def join_all() -> None:
    """Wait for the end of all streams and their handlers, as an interpreter does for threads."""
    for stream in list(_open):
        stream.join()


class Connection(Handling):
    """The part of a stream that connects and ends."""

    log = logging.getLogger("sleekxmpp.xmlstream.xmlstream")
    response_timeout = RESPONSE_TIMEOUT
    auto_reconnect = True
    certfile: str | None = None
    keyfile: str | None = None
    reconnect_max_delay = 600.0

    def _prepare(self) -> None:
        """Make what slixmpp's constructor already needs."""
        self._loop = loop.get()
        self._steps = recording.Steps()
        self._events = Events(self._cut)
        self._connected = Event()
        self.session_started_event = Event()
        self._reattempt = True
        self._reconnect_delay = 0.0
        self._stopping = self._reconnecting = False
        self.unanswered: dict[asyncio.Future[Any], slixmpp.Iq] = {}

    def _listen(self) -> None:
        """Follow what happens; slixmpp's own handlers were there before."""
        for name, handler in (
            ("connected", self._on_connected),
            ("connection_failed", self._on_connection_failed),
            ("ssl_invalid_chain", self._on_tls_failed),
            ("auth_success", lambda _: self._steps.done(recording.AUTH)),
            ("failed_auth", self._on_failed_auth),
            ("failed_all_auth", lambda data: self.event("no_auth", data)),
            ("session_start", self._on_session_start),
            ("session_end", self._on_session_end),
            ("disconnected", self._on_disconnected),
        ):
            slixmpp.BaseXMPP.add_event_handler(self, name, handler)

    def get_ssl_context(self) -> ssl.SSLContext:
        """Return the worker's context for `ca_certs`, `certfile` and `keyfile`.

        As in SleekXMPP, a server's certificate is verified where `ca_certs` is set. Raises
        TransportError where a file cannot be used.
        """
        cert = (self.certfile, self.keyfile) if self.certfile and self.keyfile else None
        return tls.context(str(self.ca_certs) if self.ca_certs else False, cert)

    async def start_tls(self) -> bool:
        """Negotiate TLS, for slixmpp, and record it."""
        secured = await super().start_tls()
        if secured:
            self._steps.done(recording.TLS)
        return secured

    async def _attempt_connection(self, *args: Any) -> bool:
        self._steps.begin()
        return await super()._attempt_connection(*args)

    def _link(
        self, address: tuple[Any, ...] | None, reattempt: bool, use_tls: bool, use_ssl: bool
    ) -> bool:
        """Connect and wait until that is done; return whether it is."""
        if use_tls or use_ssl:
            self.get_ssl_context()  # so that it is the caller who hears of an unusable file
        self.enable_direct_tls = use_ssl
        self.enable_starttls = use_tls and not use_ssl
        self.enable_plaintext = not use_tls and not use_ssl
        self._reattempt = reattempt
        self._stopping = self._reconnecting = False
        self._connected.clear()
        self._events.open()
        _open.add(self)
        super().connect(*(address or default_address or (None, None)))
        self._connected.wait()
        return self.is_connected()

    def process(self, block: bool = False, threaded: bool = True) -> None:
        """Begin to handle events; with `block` (or threaded=False), return when the stream ends.

        Ctrl-C ends the stream.
        """
        self._events.begin()
        if block or not threaded:
            try:
                self._events.join()
            except KeyboardInterrupt:
                self.event("killed")
                self.leave()

    def disconnect(self, *args: Any, **options: Any) -> Any:
        """Close the stream as SleekXMPP does: see `leave`. slixmpp itself gets a future."""
        if not slixmpp_asks():
            return self.leave(*args, **options)
        self._stopping = not self._reconnecting
        return super().disconnect(*args, **options)

    def leave(
        self, reconnect: bool = False, wait: bool | None = None, send_close: bool = True
    ) -> None:
        """Close the stream and wait until it is closed, or connect again with `reconnect`.

        What is still to be sent goes first, unless `wait` is False or `send_close` is.
        """
        if reconnect:
            self.reconnect()
            return
        self._stopping = True
        closed = super().disconnect(
            GOODBYE if send_close else 0.0, ignore_send_queue=wait is False or not send_close
        )
        loop.wait(closed)

    def reconnect(self, *args: Any, **options: Any) -> None:
        """Close the stream and connect again to the same address."""
        self._reconnecting = True
        if slixmpp_asks():
            super().reconnect(*args, **options)
        else:  # SleekXMPP's: reattempt, wait, send_close
            super().reconnect(GOODBYE)

    def abort(self) -> None:
        """End the connection at once."""
        if not slixmpp_asks():
            self._stopping = True
        super().abort()

    def use_signals(self, signals: Sequence[str] | None = None) -> None:
        """Disconnect at SIGHUP and SIGTERM, or `signals`; where users run, the worker has them."""
        try:
            _ = user.id
        except AmocError:
            for name in signals or ("SIGHUP", "SIGTERM"):
                gevent.signal_handler(getattr(signal, name), self._on_signal)

    def join(self) -> None:
        """Wait for the end of the stream and of all its handlers."""
        self._events.join_threads()

    def _on_signal(self) -> None:
        self.event("killed")
        self.leave()

    def _on_connected(self, _: object) -> None:
        self._steps.done(recording.CONNECT)
        self._connected.set()

    def _on_connection_failed(self, error: object) -> None:
        self._steps.done(recording.CONNECT, recording.kind_of(error))
        self.event("socket_error", error)
        if not self._reattempt:
            self.cancel_connection_attempt()
            self._finish()

    def _on_tls_failed(self, error: object) -> None:
        self._steps.done(recording.TLS, recording.kind_of(error))
        self._stopping = True
        super().disconnect(0.0)

    def _on_failed_auth(self, failure: Any) -> None:
        self._steps.done(recording.AUTH, failure["condition"])

    def _on_session_start(self, _: object) -> None:
        self._steps.login()
        self._reconnect_delay = 0.0
        self.session_started_event.set()

    def _on_session_end(self, _: object) -> None:
        self.session_started_event.clear()
        for future, iq in self.unanswered.items():
            if not future.done():
                future.set_exception(recording.SessionEnded(iq))

    def _on_disconnected(self, reason: object) -> None:
        self._steps.login(recording.kind_of(reason) if reason else recording.CUT)
        if self._reconnecting:
            self._reconnecting = False  # slixmpp does it
        elif self.auto_reconnect and not self._stopping:
            self._reconnect_delay = min(self._reconnect_delay * 2 + 1, self.reconnect_max_delay)
            loop.get().call_later(self._reconnect_delay, self._again)
        else:
            self._finish()

    def _again(self) -> None:
        if not self._stopping:
            super().connect(*(self.custom_address or (None, None)))

    def _finish(self) -> None:
        """End the greenlets, when they have handled what happened until now."""
        self._stopping = True
        self._on_session_end(None)
        loop.get().call_soon(self._connected.set)
        loop.get().call_soon(self._events.close)

    def _cut(self) -> None:
        """Leave nothing behind: the greenlet of the stream has ended."""
        _open.discard(self)
        self._stopping = True
        self._on_session_end(None)
        self.cancel_connection_attempt()
        super().abort()
        for name in list(self.scheduled_events):
            self.cancel_schedule(name)
        if self._run_out_filters is not None:
            self._run_out_filters.cancel()
            self._run_out_filters = None
