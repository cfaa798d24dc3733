"""Recording of slixmpp clients, with the operation names of `xmpp.Client`.

Latencies are measured in this process, as slixmpp does not give the kernel's arrival times.
"""

import asyncio
from typing import Any

from slixmpp.exceptions import IqTimeout, XMPPError

from amoc_gevent import clock, metrics
from amoc_gevent.transport import errors
from amoc_gevent.transport.errors import from_os_error
from amoc_gevent.xmpp.recording import RECEIVED, SENT, count

__all__ = ["RECEIVED", "SENT", "SessionEnded", "Steps", "count", "iq", "kind_of"]

CONNECT = "xmpp connect"
TLS = "xmpp tls"
AUTH = "xmpp auth"
LOGIN = "xmpp login"
JOIN = "muc join"
TIMEOUT = "timeout"
CUT = "disconnected"

handler_errors = metrics.counter("sleek_handler_errors")


class SessionEnded(IqTimeout):  # scripts catch it like the timeout of the IQ
    """The session ended before the answer to an IQ arrived."""


class Steps:
    """Times the steps of one login, each from the end of the previous one."""

    __slots__ = ("_began", "_login")

    def __init__(self) -> None:
        self._began = 0
        self._login = 0

    def begin(self) -> None:
        """Start timing: the connection attempt begins."""
        self._began = self._login = clock.monotonic_ns()

    def done(self, step: str, error: str | None = None) -> None:
        """Record the end of a step, successful or with an error of this kind."""
        now = clock.monotonic_ns()
        metrics.finished(step, (now - self._began) // 1000, error)
        self._began = now

    def login(self, error: str | None = None) -> None:
        """Record the whole login once. Later calls do nothing."""
        if self._login:
            us = (clock.monotonic_ns() - self._login) // 1000
            metrics.finished(LOGIN, us, error)
            self._login = 0


def iq(stanza: Any, future: "asyncio.Future[Any]") -> None:
    """Record an IQ when its `future` is done. Its name has its type and payload namespace."""
    began = clock.monotonic_ns()
    name = f"iq {stanza['type']} {_namespace(stanza.xml)}"

    def record(done: "asyncio.Future[Any]") -> None:
        if done.cancelled():
            metrics.recorder.interrupted(name)
            return
        us = (clock.monotonic_ns() - began) // 1000
        error = done.exception()
        metrics.finished(name, us, None if error is None else kind_of(error))

    future.add_done_callback(record)


def kind_of(error: object) -> str:
    """Return the kind under which a slixmpp error is counted. A string is already a kind."""
    if isinstance(error, str):
        return error
    if isinstance(error, SessionEnded):
        return CUT
    if isinstance(error, IqTimeout | asyncio.TimeoutError):
        return TIMEOUT
    if isinstance(error, XMPPError):
        return str(error.condition)
    if isinstance(error, OSError):
        return from_os_error(error, "").kind
    return errors.kind_of(error)


def _namespace(xml: Any) -> str:
    for child in xml:
        return str(child.tag).partition("}")[0].lstrip("{")
    return "empty"
