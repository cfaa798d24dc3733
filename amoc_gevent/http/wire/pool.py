"""A user's pool of keep-alive connections. It retries requests on stale ones."""

import ssl

from amoc_gevent import clock, metrics
from amoc_gevent.http import recording
from amoc_gevent.http.errors import from_transport
from amoc_gevent.http.response import Response
from amoc_gevent.http.timeouts import Limits
from amoc_gevent.http.wire.bodies import Body
from amoc_gevent.http.wire.connection import HttpConnection
from amoc_gevent.http.wire.target import RequestTarget, Route
from amoc_gevent.transport import Transport, TransportError, TransportTimeout, connect
from amoc_gevent.transport.errors import kind_of
from amoc_gevent.user import check_load

MAX_RESPONSE_SIZE = 64 << 20


class Pool:
    """One idle connection for each route. A request takes it out and puts it back.

    A connection that its peer closed is replaced before it is used. If one breaks during a request,
    before the first byte of the response, the request is sent again on a new connection, once, if
    it is idempotent (RFC 9110, 9.2.2). The counter "http_stale_retries" counts these retries.
    """

    __slots__ = ("_closed", "_idle", "_sessions", "limit")

    def __init__(self) -> None:
        self._idle: dict[Route, HttpConnection] = {}
        self._sessions: dict[Route, ssl.SSLSession] = {}
        # To take a session costs more than the rest of a close, and few pools are used after one.
        self._closed: dict[Route, Transport] = {}
        self.limit = MAX_RESPONSE_SIZE

    def exchange(
        self,
        target: RequestTarget,
        wire: bytes,
        body: Body | None,
        name: str,
        limits: Limits,
    ) -> Response:
        """Send `wire` and `body` and return the response. The caller records it.

        A failure is recorded as operation `name`, then raised as a RequestError. An exception from
        outside, such as a forced stop or a timeout of the scenario, is recorded and re-raised.
        """
        check_load()
        began = clock.monotonic()
        lost = 0.0
        connection = self._idle.pop(target.route, None)
        while True:
            try:
                if connection is not None and (
                    connection.stream.waiter.unread
                    or (not target.idempotent and connection.stream.ended())
                ):
                    self._drop(connection, target.route)
                    connection = None
                if connection is None:
                    connection = self._connect(target.route, limits)
                stream = connection.stream
                stream.read_timeout, stream.total_deadline = limits.read, limits.deadline
                response = connection.exchange(target, wire, body, self.limit)
                break
            except BaseException as error:  # the boundary of an operation: count every failure
                if connection is not None:
                    connection.close()
                    if _was_stale(error, connection) and _repeatable(target, body):
                        metrics.counter("http_stale_retries").add()
                        connection, lost = None, clock.monotonic() - began
                        continue
                cause = _record(error, name, target, wire, began)
                if cause is error:
                    raise
                raise cause from None
        if connection.reusable:
            self._idle[target.route] = connection
        else:
            self._drop(connection, target.route)
        response.sent = wire
        if lost:
            response.total_us += int(lost * 1e6)
        return response

    def close(self) -> None:
        """Close all connections."""
        while self._idle:
            route, connection = self._idle.popitem()
            self._closed[route] = connection.stream
            connection.close()

    def _connect(self, route: Route, limits: Limits) -> HttpConnection:
        if stream := self._closed.pop(route, None):
            self._keep_session(route, stream)
        session = self._sessions.get(route)
        return HttpConnection(connect(route.peer, limits.connect, limits.deadline, session))

    def _drop(self, connection: HttpConnection, route: Route) -> None:
        self._keep_session(route, connection.stream)
        connection.close()

    def _keep_session(self, route: Route, stream: Transport) -> None:
        if (session := stream.session) is not None:
            self._sessions[route] = session


def _was_stale(error: BaseException, connection: HttpConnection) -> bool:
    return (
        connection.used
        and not connection.response_begun
        and isinstance(error, TransportError)
        and not isinstance(error, TransportTimeout)
    )


def _repeatable(target: RequestTarget, body: Body | None) -> bool:
    return target.idempotent and (body is None or body.replayable)


def _record(
    error: BaseException, name: str, target: RequestTarget, wire: bytes, began: float
) -> BaseException:
    """Record the error that ended an exchange. Return the error to raise to the scenario."""
    if metrics.is_forced_stop(type(error)):
        metrics.recorder.interrupted(name)
        return error
    if isinstance(error, TransportError):
        error = from_transport(error)
    us = int((clock.monotonic() - began) * 1e6)
    recording.failure(name, target, wire, us, kind_of(error))
    return error
