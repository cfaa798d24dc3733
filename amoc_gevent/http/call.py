"""One call of a session method with arguments, and the requests that result from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.cookiejar import CookieJar
from typing import Any, Self, TypedDict, get_type_hints
from urllib.parse import urlsplit

from amoc_gevent.http.auth import Auth, HTTPDigestAuth
from amoc_gevent.http.cookies import Cookies
from amoc_gevent.http.response import Response
from amoc_gevent.http.timeouts import Limits, Timeout
from amoc_gevent.http.wire import urls
from amoc_gevent.http.wire.bodies import EMPTY, Body, Data, Files
from amoc_gevent.http.wire.headers import Headers, encode, values
from amoc_gevent.http.wire.target import RequestTarget, Template
from amoc_gevent.http.wire.urls import Params
from amoc_gevent.transport import Certificate, Verify

JOINED_SIZE = 65536
"""Largest body in bytes that is sent together with the head."""

_FRAMING = frozenset({"content-length", "transfer-encoding"})
_BODY_FIELDS = _FRAMING | {"content-type"}
_NEVER_REDIRECTED = frozenset({"cookie", "proxy-authorization"})
_NONE: frozenset[str] = frozenset()


class CommonOptions(TypedDict, total=False):
    """Keyword arguments of every request except `params`, `data`, `json`, `name` and `check`."""

    files: Files
    headers: Mapping[str, str | None] | None
    cookies: Mapping[str, str] | CookieJar | None
    auth: Auth
    timeout: Timeout
    allow_redirects: bool
    verify: Verify | None
    cert: Certificate


class ReadOptions(CommonOptions, total=False):
    """Keyword arguments of `get` and similar methods."""

    data: Data
    json: Any


class WriteOptions(CommonOptions, total=False):
    """Keyword arguments of `post` and similar methods."""

    params: Params


class AllOptions(ReadOptions, WriteOptions, total=False):
    """Keyword arguments of `request`."""


OPTIONS = frozenset(get_type_hints(AllOptions))


@dataclass(slots=True)
class Call:
    """The arguments of a call. `redirected` returns a call for the next hop.

    `dropped`: names, in lower case, of headers of the session that a hop must not send.
    """

    method: str
    url: str
    template: Template
    limits: Limits
    query: str = ""
    name: str | None = None
    check: bool = False
    follow: bool = True
    body: Body = EMPTY
    headers: Headers | None = None
    dropped: frozenset[str] = _NONE
    cookies: Cookies | None = None
    digest: HTTPDigestAuth | None = None

    def prepare(self, jar: Cookies) -> tuple[RequestTarget, bytes, Body | None]:
        """Return the target, the bytes to send first, and the body unless those include it."""
        body = self.body
        dropped = self._dropped()
        target, lines = self._target(dropped)
        head = b"".join(
            (
                target.head,
                lines,
                self._about_body(target, dropped),
                self._credentials(jar, target, dropped),
                b"\r\n",
            )
        )
        if body.stream is not None or len(body.content) > JOINED_SIZE:
            return target, head, body
        return target, head + body.content, None

    def redirected(self, response: Response) -> Self:
        """Return the call for the next hop, as requests and browsers do (RFC 9110, 15.4)."""
        method, status = self.method, response.status_code
        if (
            (status == 303 and method != "HEAD")
            or (status == 302 and method != "HEAD")
            or (status == 301 and method == "POST")
        ):
            method = "GET"
        url = urls.without_user(urls.follow(response.url, response.location))
        body, dropped = self.body, self.dropped | _NEVER_REDIRECTED
        if status not in (307, 308):
            body = EMPTY
            dropped |= _BODY_FIELDS
        digest = self.digest
        if _leaves(response.url, url):
            dropped |= {"authorization"}
            digest = None
            authorization = []
        else:
            authorization = values(b"\r\n" + response.target.fields, b"authorization")
        headers = Headers(
            (k, v) for k, v in (self.headers or {}).items() if k.lower() not in dropped
        )
        if authorization and digest is None:
            headers["Authorization"] = authorization[0]
        changed = replace(
            self,
            method=method,
            url=url,
            query="",
            body=body,
            headers=headers,
            dropped=dropped,
            digest=digest,
        )
        if self.name is not None and not self.name.endswith(" (redirect)"):
            changed.name = f"{self.name} (redirect)"
        return changed

    def _dropped(self) -> frozenset[str]:
        """Return the names of the given headers that are not sent, or replaced by computed ones."""
        dropped = self.dropped
        if self.body is not EMPTY:
            dropped |= _FRAMING
        if self.digest is not None and self._sends("authorization", dropped):
            dropped |= {"authorization"}
        return dropped

    def _target(self, dropped: frozenset[str]) -> tuple[RequestTarget, bytes]:
        """Return the target, and the lines of the call's headers that the target lacks."""
        template, headers = self.template, self.headers
        if not dropped.isdisjoint(template.names) or (headers and headers.override(template.names)):
            url = urls.with_query(self.url, self.query)
            return template.make(self.method, url, headers, dropped), b""
        target = template.cache.get((self.method, self.url))
        if target is None:
            target = template.target(self.method, self.url)
        if self.query:
            target = target.with_query(self.query)
        if not headers:
            return target, b""
        return target, encode((k, v) for k, v in headers.items() if k.lower() not in dropped)

    def _sends(self, name: str, dropped: frozenset[str]) -> bool:
        """Return whether a header `name` (lower case) is given, by the call or by the session."""
        if name in dropped:
            return False
        if self.headers and name in self.headers:
            return self.headers[name] is not None
        return name in self.template.given

    def _about_body(self, target: RequestTarget, dropped: frozenset[str]) -> bytes:
        body = self.body
        lines = b""
        if body.content_type is not None and not self._sends("content-type", dropped):
            lines = b"Content-Type: %b\r\n" % body.content_type.encode()
        if body.stream is not None and body.length is None:
            return lines + b"Transfer-Encoding: chunked\r\n"
        length = len(body.content) if body.length is None else body.length
        if (not length and target.bodiless) or self._sends("content-length", dropped):
            return lines
        return b"%bContent-Length: %d\r\n" % (lines, length)

    def _credentials(self, jar: Cookies, target: RequestTarget, dropped: frozenset[str]) -> bytes:
        """Return the Cookie line and the Authorization line that answers a challenge."""
        lines = b""
        if not self._sends("cookie", dropped):
            route = target.route
            carried = jar.merged(self.cookies) if self.cookies else jar
            cookies = carried.header(route.host, target.path, route.secure) if carried else b""
            lines = b"Cookie: %b\r\n" % cookies if cookies else b""
        answer = self.digest.header(target.method, target.uri) if self.digest is not None else None
        return lines if answer is None else lines + encode([("Authorization", answer)])


def _leaves(old: str, new: str) -> bool:
    """Whether a redirect leads to a place that must not get the credentials."""
    before, after = urlsplit(old), urlsplit(new)
    if before.hostname != after.hostname:
        return True
    if before.scheme == "http" and after.scheme == "https":
        return (before.port or 80) != 80 or (after.port or 443) != 443
    ports = urls.DEFAULT_PORTS
    return before.scheme != after.scheme or (before.port or ports[before.scheme]) != (
        after.port or ports[after.scheme]
    )
