"""Recording of exchanges as operations, exactly once: at once or after a check of the content."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from amoc_gevent import metrics
from amoc_gevent.http.response import Response
from amoc_gevent.http.timings import Timings
from amoc_gevent.http.wire import headers
from amoc_gevent.http.wire.target import RequestTarget
from amoc_gevent.printable import printable


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its outcome, for an observer.

    Header fields are in their order. `error`: the recorded kind of error, None for none.
    `status`: None if there was no response. `content`: the decoded body.
    """

    name: str
    method: str
    url: str
    request_headers: list[tuple[str, str]]
    timings: Timings
    error: str | None
    status: int | None = None
    reason: str = ""
    response_headers: list[tuple[str, str]] | None = None
    content: bytes = b""


Observer = Callable[[Exchange], None]

_observer: Observer | None = None


def observe(callback: Observer | None) -> None:
    """Call `callback` after each exchange of this process. None stops it."""
    global _observer  # noqa: PLW0603  # when off, it costs one test of a module variable
    _observer = callback


def observed() -> bool:
    """Return whether there is an observer, which needs an Exchange for each operation."""
    return _observer is not None


def record(name: str, timings: Timings, error: str | None, exchange: Exchange | None) -> None:
    """Record an operation and pass `exchange`, if any, to the observer."""
    recorder = metrics.recorder
    first = timings.first_byte
    recorder.operation(name, timings.total, error, -1 if first is None else first)
    if timings.connect is not None:
        recorder.phase(name, "connect", timings.connect)
    if timings.tls is not None:
        recorder.phase(name, "tls", timings.tls)
    if exchange is not None and _observer is not None:
        _observer(replace(exchange, error=error))


def success(name: str, response: Response, error: str | None) -> None:
    """Record an exchange with a response. `error` is the kind of its error, None for none."""
    if response.connect_us is None and _observer is None:
        metrics.recorder.operation(name, response.total_us, error, response.first_byte_us)
    else:
        exchange = exchange_of(name, response) if _observer is not None else None
        record(name, response.timings, error, exchange)


def failure(name: str, target: RequestTarget, sent: bytes, us: int, kind: str) -> None:
    """Record an exchange that failed without a response after `us` µs."""
    exchange = None
    if _observer is not None:
        exchange = Exchange(name, target.method, target.url, fields_of(sent), Timings(us), kind)
    record(name, Timings(us), kind, exchange)


def unsent(name: str | None, method: str, url: str, kind: str) -> None:
    """Record a request that cannot be sent, by its method and URL if it has no name."""
    name = name or f"{method} {url}"
    name = printable(name)  # keep a table row on one line
    exchange = None
    if _observer is not None:
        exchange = Exchange(name, method, url, [], Timings(0), kind)
    record(name, Timings(0), kind, exchange)


class PendingRecord:
    """The record of a response with `check=True`, written exactly once.

    It is written at the end of the response's `with` block. Without a block, it is written by the
    status alone when the session makes the next request or is closed, or when the response is
    dropped. It has no reference to the response, so that a drop is noticed at once.
    """

    __slots__ = ("_exchange", "_name", "_open", "_reason", "_status_error", "_timings", "entered")

    def __init__(
        self, name: str, timings: Timings, status_error: str | None, exchange: Exchange | None
    ) -> None:
        self._name = name
        self._timings = timings
        self._status_error = status_error
        self._exchange = exchange
        self._reason: str | None = None
        self._open = True
        self.entered = False

    def fail(self, reason: str) -> None:
        """Count the operation as an error of kind `reason`. The first reason counts."""
        self._reason = self._reason or str(reason)

    def leave(self, raised: type[BaseException] | None) -> None:
        """Record at the end of the block. An exception counts as an error of its type's name.

        A block that was cut short decided nothing: the status does.
        """
        if raised is not None and metrics.is_forced_stop(raised):
            self._settle(self._reason or self._status_error)
            return
        if raised is not None:
            self.fail(raised.__name__)
        self._settle(self._reason)

    def abandon(self) -> None:
        """Record by the status, unless a block has been entered."""
        if not self.entered:
            self._settle(self._reason or self._status_error)

    def __del__(self) -> None:
        self._settle(self._reason or (None if self.entered else self._status_error))

    def _settle(self, error: str | None) -> None:
        if self._open:
            self._open = False
            record(self._name, self._timings, error, self._exchange)


def status_error(status: int) -> str | None:
    """Return the kind of error for a status, None for one below 400."""
    return None if status < 400 else f"status {status}"


def exchange_of(name: str, response: Response) -> Exchange:
    """Return the exchange of a response. Recording it sets its `error`."""
    return Exchange(
        name=name,
        method=response.method,
        url=response.url,
        request_headers=fields_of(response.sent),
        timings=response.timings,
        error=None,
        status=response.status_code,
        reason=response.reason,
        response_headers=headers.parse(response.head.raw),
        content=response.content,
    )


def fields_of(sent: bytes) -> list[tuple[str, str]]:
    """Return the header fields of a sent request."""
    return headers.parse(sent.partition(b"\r\n\r\n")[0])
