"""A user's HTTP client, with the API of requests' Session on this package's own transport."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, Unpack

from amoc_gevent import clock
from amoc_gevent.errors import UsageError
from amoc_gevent.http import recording
from amoc_gevent.http.auth import Auth, HTTPDigestAuth
from amoc_gevent.http.call import OPTIONS, AllOptions, Call, ReadOptions, WriteOptions
from amoc_gevent.http.cookies import Cookies
from amoc_gevent.http.errors import (
    TOO_MANY_REDIRECTS,
    UNREPEATABLE,
    RequestError,
    TooManyRedirects,
)
from amoc_gevent.http.recording import PendingRecord
from amoc_gevent.http.response import Response
from amoc_gevent.http.session_settings import SessionSettings
from amoc_gevent.http.timeouts import Limits, Timeout, timeouts
from amoc_gevent.http.wire import bodies, urls
from amoc_gevent.http.wire.bodies import Data
from amoc_gevent.http.wire.headers import Headers, values
from amoc_gevent.http.wire.pool import Pool
from amoc_gevent.http.wire.urls import Params
from amoc_gevent.transport import NEVER, Certificate, SourceAddress, Verify

MAX_REDIRECTS = 30


class Session(SessionSettings):
    """One user's HTTP client: keep-alive connections, cookies and settings for all requests.

    `base_url`: prefix of URLs that begin with "/".
    `timeout`: seconds, (connect, read) or (connect, read, total). Default: 10 to connect, 60 to
    read.
    `verify`: True, False or the path of certificate authorities.
    `cert`: path of a client certificate with its key, or the paths of both.
    `source_address`: the local host, or (host, port).

    Settings of the environment, such as proxies and .netrc, are ignored.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        timeout: Timeout = None,
        verify: Verify = True,
        cert: Certificate = None,
        headers: Mapping[str, str] | None = None,
        auth: Auth = None,
        source_address: SourceAddress = None,
    ) -> None:
        super().__init__(base_url, timeout, verify, cert, headers, auth, source_address)
        self._pool = Pool()
        self._pending: PendingRecord | None = None
        self.cookies = Cookies()

    def get(
        self,
        url: str,
        params: Params = None,
        *,
        name: str | None = None,
        check: bool = False,
        **options: Unpack[ReadOptions],
    ) -> Response:
        """Send a GET request; see `request`."""
        if type(url) is not str:
            url = urls.as_text(url)
        if params is None and not options:
            return self._plain("GET", url, name, check)
        return self.request("GET", url, params=params, name=name, check=check, **options)

    def post(
        self,
        url: str,
        data: Data = None,
        json: Any = None,  # any JSON value
        *,
        name: str | None = None,
        check: bool = False,
        **options: Unpack[WriteOptions],
    ) -> Response:
        """Send a POST request; see `request`."""
        return self.request("POST", url, data=data, json=json, name=name, check=check, **options)

    def put(self, url: str, data: Data = None, **options: Any) -> Response:
        """Send a PUT request; see `request`."""
        return self.request("PUT", url, data=data, **options)

    def patch(self, url: str, data: Data = None, **options: Any) -> Response:
        """Send a PATCH request; see `request`."""
        return self.request("PATCH", url, data=data, **options)

    def delete(self, url: str, **options: Any) -> Response:
        """Send a DELETE request; see `request`."""
        return self.request("DELETE", url, **options)

    def head(self, url: str, **options: Any) -> Response:
        """Send a HEAD request, by default without following redirects; see `request`."""
        return self.request("HEAD", url, **{"allow_redirects": False, **options})

    def options(self, url: str, **options: Any) -> Response:
        """Send an OPTIONS request; see `request`."""
        return self.request("OPTIONS", url, **options)

    def request(
        self,
        method: str,
        url: str,
        *,
        name: str | None = None,
        check: bool = False,
        **options: Unpack[AllOptions],
    ) -> Response:
        """Send a request, follow its redirects and return the last response.

        The operation is recorded as `name`, by default as method and path. A status of 400 or above
        is an error. With `check=True`, the `with` block of the response decides instead. The other
        arguments are those of requests: params, data, json, files, headers, cookies, auth, timeout,
        allow_redirects, verify, cert. Raises RequestError when there is no response.
        """
        method, url = method.upper(), urls.as_text(url)
        if not options:
            return self._plain(method, url, name, check)
        try:
            call = self._call(method, url, name, check, options)
        except RequestError as error:
            recording.unsent(name, method, url, error.kind)
            raise
        return self._finish(call, self._send(call))

    def close(self) -> None:
        """Close the connections. A pending response is recorded by its status."""
        self._record_pending()
        self._pool.close()

    @property
    def max_response_size(self) -> int:
        """Largest response body in bytes, both as sent and decoded. Default: 64 MiB."""
        return self._pool.limit

    @max_response_size.setter
    def max_response_size(self, size: int) -> None:
        self._pool.limit = size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _plain(self, method: str, url: str, name: str | None, check: bool) -> Response:
        """Send a request without arguments, from a cached target."""
        if self._pending is not None:
            self._record_pending()
        template = self._template
        if template is None or self.headers.version != self._headers_version:
            template = self._update_template()
        if self._digest is not None or self._times.total != NEVER or not template.plain:
            call = self._call(method, url, name, check, {})
            return self._finish(call, self._send(call))
        try:
            target = template.cache.get((method, url)) or template.target(method, url)
        except RequestError as error:
            recording.unsent(name, method, url, error.kind)
            raise
        wire = target.wire
        if self.cookies:
            cookie = self.cookies.header(target.route.host, target.path, target.route.secure)
            if cookie:
                wire = b"%bCookie: %b\r\n%b" % (target.head, cookie, target.tail)
        operation = name or target.name
        response = self._pool.exchange(target, wire, None, operation, self._limits)
        if response.head.sets_cookies:
            self._store_cookies(response)
        if response.status_code < 300 and not check:
            recording.success(operation, response, None)
            return response
        if response.is_redirect:
            return self._finish(self._call(method, url, name, check, {}), response)
        return self._record_final(operation, check, response)

    def _call(
        self, method: str, url: str, name: str | None, check: bool, options: Mapping[str, Any]
    ) -> Call:
        """Make a Call from the arguments of a request, with the session's settings as defaults."""
        if not options.keys() <= OPTIONS:
            unknown = ", ".join(sorted(options.keys() - OPTIONS))
            raise UsageError(
                f"http.Session has no argument {unknown}; it takes {', '.join(sorted(OPTIONS))}"
            )
        get = options.get
        template = self._template
        if template is None or self.headers.version != self._headers_version:
            template = self._update_template()
        auth = self._auth(get("auth"))
        verify, cert = get("verify"), get("cert")
        if auth is not None or verify is not None or cert is not None:
            template = self._template_for(auth, verify, cert)
        times = timeouts(get("timeout"), self._times)
        cookies, headers = get("cookies"), get("headers")
        return Call(
            method=method,
            url=url,
            query=urls.encode(get("params")),
            template=template,
            limits=Limits(times.connect, times.read, clock.monotonic() + times.total),
            name=name,
            check=check,
            follow=get("allow_redirects", True),
            body=bodies.encode(get("data"), get("json"), get("files")),
            headers=Headers(headers) if headers else None,
            cookies=Cookies(cookies) if cookies else None,
            digest=auth if isinstance(auth, HTTPDigestAuth) else None if auth else self._digest,
        )

    def _send(self, call: Call) -> Response:
        if self._pending is not None:
            self._record_pending()
        try:
            target, wire, body = call.prepare(self.cookies)
        except RequestError as error:
            recording.unsent(call.name, call.method, call.url, error.kind)
            raise
        name = call.name or target.name
        response = self._pool.exchange(target, wire, body, name, call.limits)
        if response.head.sets_cookies:
            self._store_cookies(response)
        return response

    def _finish(self, call: Call, response: Response) -> Response:
        """Answer a challenge, follow redirects, record each response and return the last."""
        history: list[Response] = []
        challenged = False
        while True:
            name = call.name or response.target.name
            if call.digest is not None and response.status_code == 401 and not challenged:
                challenged = call.digest.accept(values(response.head.raw, b"www-authenticate"))
                if not challenged:
                    break
                recording.success(f"{name} (challenge)", response, None)
            elif call.follow and response.is_redirect:
                if len(history) >= MAX_REDIRECTS:
                    recording.success(name, response, TOO_MANY_REDIRECTS)
                    error = TooManyRedirects(TOO_MANY_REDIRECTS, f"more than {MAX_REDIRECTS}")
                    error.response = response
                    raise error
                recording.success(name, response, None)
                try:
                    call, challenged = call.redirected(response), False
                except RequestError as error:
                    recording.unsent(call.name, call.method, response.location, error.kind)
                    raise
            else:
                break
            if not call.body.replayable:
                recording.unsent(call.name, call.method, call.url, UNREPEATABLE)
                raise RequestError(UNREPEATABLE, f"to {call.url}: the body was a stream")
            history.append(response)
            response = self._send(call)
        if history:
            response.history.extend(history)
        return self._record_final(name, call.check, response)

    def _record_final(self, name: str, check: bool, response: Response) -> Response:
        """Record the last response of a call, or leave that to its `with` block."""
        error = recording.status_error(response.status_code)
        if check:
            exchange = recording.exchange_of(name, response) if recording.observed() else None
            pending = PendingRecord(name, response.timings, error, exchange)
            response.pending = self._pending = pending
        else:
            recording.success(name, response, error)
        return response

    def _store_cookies(self, response: Response) -> None:
        route, path = response.target.route, response.target.path
        fields = values(response.head.raw, b"set-cookie")
        self.cookies.store(fields, route.host, path, route.secure)

    def _record_pending(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.abandon()
