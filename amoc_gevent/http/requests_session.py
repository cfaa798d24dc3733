"""The requests library with the recording of `http.Session`: names, kinds of errors, `check`."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import requests
import urllib3
from requests.auth import HTTPDigestAuth

from amoc_gevent import clock, metrics
from amoc_gevent.errors import UsageError
from amoc_gevent.http import recording
from amoc_gevent.http.errors import (
    TOO_MANY_REDIRECTS,
    InvalidURL,
)
from amoc_gevent.http.recording import Exchange, PendingRecord
from amoc_gevent.http.requests_errors import UNSENDABLE, kind_of_requests_error
from amoc_gevent.http.requests_fast_paths import LeanAdapter, LeanCookieJar, prepared
from amoc_gevent.http.timings import Timings
from amoc_gevent.http.wire import urls
from amoc_gevent.user import check_load

DEFAULT_TIMEOUT = (10.0, 60.0)


@dataclass(slots=True)
class _Call:
    """The arguments and the state of a call while requests executes it."""

    name: str | None
    check: bool
    follow: bool
    digest: bool
    max_redirects: int
    hops: int = 0
    failed: bool = False
    pending: PendingRecord | None = None


_NO_CALL = _Call(None, check=False, follow=False, digest=False, max_redirects=0)
_call: ContextVar[_Call] = ContextVar("_call", default=_NO_CALL)


class RequestsResponse(requests.Response):
    """A requests.Response whose `with` block can decide whether it is an error."""

    pending: PendingRecord | None = None

    def fail(self, reason: str) -> None:
        """Record this operation as an error of kind `reason`. Needs `check=True` and a block."""
        if self.pending is None:
            raise UsageError("fail() needs a request with check=True")
        self.pending.fail(reason)

    def __enter__(self) -> Self:
        if self.pending is not None:
            self.pending.entered = True
        return self

    def __exit__(  # type: ignore[override]  # the base takes anything
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.pending is not None:
            self.pending.leave(kind)
        self.close()


class RequestsSession(requests.Session):
    """A requests.Session for one user, with one keep-alive connection for each origin.

    Each request and each redirect is recorded as an operation, with the names and error kinds of
    `http.Session`. Latencies are measured in this process. They include its waits for the CPU, as
    requests does not give the kernel's arrival times. `timeout` is in seconds, or (connect, read).
    `trust_env` is off by default, so this machine's proxies and .netrc do not affect the load.
    """

    def __init__(
        self, base_url: str = "", *, timeout: float | tuple[float, float] = DEFAULT_TIMEOUT
    ) -> None:
        super().__init__()
        # the search for proxies and .netrc takes a quarter of a request's CPU time
        self.trust_env = False
        self.cookies = LeanCookieJar()
        self.base_url = base_url
        self.timeout = timeout
        self._pending: PendingRecord | None = None
        for scheme in ("http://", "https://"):
            self.mount(scheme, _RecordingAdapter(pool_connections=10, pool_maxsize=1))

    def request(  # type: ignore[override]  # two more arguments than the base
        self,
        method: str,
        url: str,
        *args: Any,
        name: str | None = None,
        check: bool = False,
        **options: Any,
    ) -> RequestsResponse:
        """Send a request as requests does. `name` and `check` work as in `http.Session`."""
        self._record_pending()
        if options.get("timeout") is None:
            options["timeout"] = self.timeout
        call = _Call(
            name=name,
            check=check,
            follow=options.get("allow_redirects", True),
            digest=isinstance(options.get("auth") or self.auth, HTTPDigestAuth),
            max_redirects=self.max_redirects,
        )
        token = _call.set(call)
        try:
            response = super().request(method, self._joined(url), *args, **options)
        except UNSENDABLE as error:
            if not call.failed:
                asked = name or f"{method.upper()} {url}"
                hop = f"{asked} (redirect)" if call.hops else asked
                recording.unsent(hop, method.upper(), url, kind_of_requests_error(error))
            raise
        finally:
            _call.reset(token)
        self._pending = call.pending
        return cast("RequestsResponse", response)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare a request with the session's settings."""
        if self.trust_env or self.params or request.params:
            return super().prepare_request(request)
        return prepared(self, request)

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Return the send options, from the arguments, the session and the environment."""
        if self.trust_env or self.proxies or proxies:
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        return {
            "proxies": {},
            "stream": self.stream if stream is None else stream,
            "verify": self.verify if verify is None else verify,
            "cert": self.cert if cert is None else cert,
        }

    def get(self, url: str, *args: Any, **options: Any) -> RequestsResponse:  # type: ignore[override]
        """Send a GET request; see `request`."""
        return self.request("GET", url, *args, **options)

    def options(self, url: str, **options: Any) -> RequestsResponse:  # type: ignore[override]
        """Send an OPTIONS request; see `request`."""
        return self.request("OPTIONS", url, **options)

    def head(self, url: str, **options: Any) -> RequestsResponse:  # type: ignore[override]
        """Send a HEAD request, by default without following redirects; see `request`."""
        return self.request("HEAD", url, **{"allow_redirects": False, **options})

    def post(  # type: ignore[override]
        self, url: str, data: Any = None, json: Any = None, **options: Any
    ) -> RequestsResponse:
        """Send a POST request; see `request`."""
        return self.request("POST", url, data=data, json=json, **options)

    def put(self, url: str, data: Any = None, **options: Any) -> RequestsResponse:  # type: ignore[override]
        """Send a PUT request; see `request`."""
        return self.request("PUT", url, data=data, **options)

    def patch(self, url: str, data: Any = None, **options: Any) -> RequestsResponse:  # type: ignore[override]
        """Send a PATCH request; see `request`."""
        return self.request("PATCH", url, data=data, **options)

    def delete(self, url: str, **options: Any) -> RequestsResponse:  # type: ignore[override]
        """Send a DELETE request; see `request`."""
        return self.request("DELETE", url, **options)

    def close(self) -> None:
        """Close the connections. A pending response is recorded by its status."""
        self._record_pending()
        super().close()

    def _joined(self, url: str) -> str:
        """Join `url` to the base URL. Raises requests' MissingSchema."""
        try:
            return urls.join(self.base_url, url)
        except InvalidURL as error:
            raise requests.exceptions.MissingSchema(str(error)) from None

    def _record_pending(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.abandon()


class _RecordingAdapter(LeanAdapter):
    """Records each request that requests sends as one operation."""

    def send(  # type: ignore[override]  # passes the base's arguments on
        self, request: requests.PreparedRequest, stream: bool = False, **options: Any
    ) -> requests.Response:
        check_load()
        call = _call.get()
        name = call.name or _name_of(request)
        if call.name is not None and call.hops:
            name = f"{call.name} (redirect)"
        began = clock.monotonic()
        try:
            response = super().send(request, stream=stream, **options)
            first = clock.monotonic()
            if not stream:
                response.content  # noqa: B018  # read to the last byte, which `total` includes
        except BaseException as error:
            call.failed = True
            if metrics.is_forced_stop(type(error)):
                metrics.recorder.interrupted(name)
                raise
            timings = Timings(int((clock.monotonic() - began) * 1e6))
            exchange = _exchange(name, request, None, timings) if recording.observed() else None
            recording.record(name, timings, kind_of_requests_error(error), exchange)
            raise
        total = int((clock.monotonic() - began) * 1e6)
        timings = Timings(total, int((first - began) * 1e6))
        _record_response(call, name, request, cast("RequestsResponse", response), timings)
        return response

    def build_response(
        self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse
    ) -> requests.Response:
        response = super().build_response(req, resp)
        response.__class__ = RequestsResponse
        return response


def _record_response(
    call: _Call,
    name: str,
    request: requests.PreparedRequest,
    response: RequestsResponse,
    timings: Timings,
) -> None:
    """Record a response, or leave that to its `with` block."""
    error = recording.status_error(response.status_code)
    final = True
    if call.follow and response.is_redirect:
        call.hops += 1
        final = call.hops > call.max_redirects
        error = TOO_MANY_REDIRECTS if final else None
    elif call.digest and _is_challenge(request, response):
        name, error, final = f"{name} (challenge)", None, False
    exchange = _exchange(name, request, response, timings) if recording.observed() else None
    if call.check and final and error != TOO_MANY_REDIRECTS:
        response.pending = call.pending = PendingRecord(name, timings, error, exchange)
    else:
        recording.record(name, timings, error, exchange)


def _is_challenge(request: requests.PreparedRequest, response: requests.Response) -> bool:
    return (
        response.status_code == 401
        and "digest" in response.headers.get("WWW-Authenticate", "").lower()
        and not str(request.headers.get("Authorization", "")).startswith("Digest ")
    )


def _name_of(request: requests.PreparedRequest) -> str:
    return f"{request.method} {request.path_url.partition('?')[0]}"


def _exchange(
    name: str,
    request: requests.PreparedRequest,
    response: requests.Response | None,
    timings: Timings,
) -> Exchange:
    made: Mapping[str, Any] = {}
    if response is not None:
        made = {
            "status": response.status_code,
            "reason": response.reason,
            "response_headers": list(response.headers.items()),
            "content": response.content,
        }
    return Exchange(
        name=name,
        method=request.method or "",
        url=request.url or "",
        request_headers=[(k, str(v)) for k, v in request.headers.items()],
        timings=timings,
        error=None,
        **made,
    )
