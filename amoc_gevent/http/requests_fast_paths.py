"""Faster replacements for parts of requests and urllib3, with the same results."""

import http.client
import re
import socket
from email.parser import Parser
from email.policy import compat32
from functools import lru_cache
from http.cookiejar import CookieJar
from types import FunctionType
from typing import IO, Any

import requests
import urllib3
from requests import cookies as requests_cookies
from requests import sessions as requests_sessions
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict

URLS = 1024
"""Number of prepared URLs that a process caches."""

_jar_from: Any = requests_cookies.cookiejar_from_dict
_merge_cookies: Any = requests_cookies.merge_cookies
_merge_hooks: Any = requests_sessions.merge_hooks
_merge_setting: Any = requests_sessions.merge_setting

_PLAIN = re.compile(rb"(?:[!-9;-~]+:[^\r\n]*\r?\n)*\r?\n?").fullmatch
_NESTED = re.compile(rb"^content-type:.*(?:multipart|message)", re.IGNORECASE | re.MULTILINE).search


@lru_cache(URLS)
def _prepared_url(url: Any) -> str | None:
    request = requests.PreparedRequest()
    request.prepare_url(url, None)
    return request.url


def prepared(session: requests.Session, request: requests.Request) -> requests.PreparedRequest:
    """Prepare a request without `params`, as Session.prepare_request does without trust_env."""
    made = requests.PreparedRequest()
    made.prepare_method(request.method)
    made.url = _prepared_url(request.url)
    headers = session.headers
    if request.headers or not headers or None in headers.values():
        headers = _merge_setting(request.headers, headers, CaseInsensitiveDict)
    made.prepare_headers(headers)
    made.prepare_cookies(_cookies(session, request))
    made.prepare_body(request.data, request.files, request.json)
    made.prepare_auth(_merge_setting(request.auth, session.auth), request.url)
    made.prepare_hooks(_merge_hooks(request.hooks, session.hooks))
    return made


def _cookies(session: requests.Session, request: requests.Request) -> RequestsCookieJar:
    jar: RequestsCookieJar = _merge_cookies(LeanCookieJar(), session.cookies)
    cookies: Any = request.cookies
    if cookies and not isinstance(cookies, CookieJar):
        cookies = _jar_from(cookies)
    if cookies:
        _merge_cookies(jar, cookies)
    return jar


class LeanCookieJar(RequestsCookieJar):
    """A cookie jar that returns early when there are no cookies."""

    def add_cookie_header(self, request: Any) -> None:
        """Add the Cookie header to a request, if there are cookies."""
        if next(iter(self), None) is not None:
            super().add_cookie_header(request)

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Store the cookies of a response, if it sets any."""
        fields = response.info()
        if "Set-Cookie" in fields or "Set-Cookie2" in fields:
            super().extract_cookies(response, request)


def parse_headers(file: IO[bytes]) -> http.client.HTTPMessage:
    """Parse the header fields of a response as http.client.parse_headers does.

    http.client uses the email parser, which takes a tenth of a request's CPU time. This function
    uses it only for unusual heads: folded fields, bad names, and content types for which the email
    parser parses the body (multipart, message).
    """
    lines: list[bytes] = http.client._read_headers(file)  # type: ignore[attr-defined]
    head = b"".join(lines)
    if not _PLAIN(head) or _NESTED(head):
        return Parser(_class=http.client.HTTPMessage).parsestr(head.decode("iso-8859-1"))
    message = http.client.HTTPMessage()
    for line in lines:
        if line not in (b"\r\n", b"\n", b""):
            field = compat32.header_source_parse([line.decode("iso-8859-1")])
            message.set_raw(*field)
    message.set_payload("")
    return message


class _Response(http.client.HTTPResponse):
    # The installed standard library's `begin`, with our `parse_headers` in its globals.
    begin = FunctionType(
        http.client.HTTPResponse.begin.__code__,
        {**vars(http.client), "parse_headers": parse_headers},
    )


class _Connection(urllib3.connection.HTTPConnection):
    """A connection that checks whether it was dropped with a non-blocking read.

    urllib3 polls before each request, which under gevent takes a tenth of a request's CPU time.
    """

    response_class = _Response

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open and nothing, not even its end, has arrived on it."""
        raw = getattr(self.sock, "_sock", None)  # gevent's raw socket, which never blocks
        if raw is None:
            return super().is_connected
        try:
            raw.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


class _SecureConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class LeanAdapter(HTTPAdapter):
    """An adapter that caches the last connection pool, as most users load one origin."""

    _key: tuple[Any, ...] | None = None
    _pool: Any = None

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Create the pool manager, with our connection classes."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Return the pool for a request, the cached one if it fits and is open."""
        if proxies:
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        origin = (request.url or "").split("/", 3)[:3]
        key = (*origin, verify, cert)
        if key != self._key or self._pool.pool is None:  # None: closed
            self._pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._key = key
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Return the request target for the request line."""
        return super().request_url(request, proxies) if proxies else request.path_url
