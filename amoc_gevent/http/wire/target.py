"""Request targets: the destination of a request and the cached bytes of its head.

A `Template` has the settings that all requests of a session share. Sessions with the same settings
share one template and its cached targets, so a request without arguments is one dict lookup.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

from amoc_gevent.http.auth import HTTPBasicAuth
from amoc_gevent.http.errors import INVALID_HEADER, InvalidHeader
from amoc_gevent.http.wire import urls
from amoc_gevent.http.wire.headers import Headers, encode, is_token
from amoc_gevent.transport import Certificate, Peer, SourceAddress, Verify, context

PROTOCOLS = ("http/1.1",)
TARGETS_MAX = 512

_PLAIN = re.compile(r"/[\w\-~!$&'()*+,;=:@/.?]*", re.ASCII).fullmatch

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_WITHOUT_BODY = frozenset({"GET", "HEAD"})
_COMPUTED = frozenset({"content-length", "cookie", "transfer-encoding"})
_KNOWN = _IDEMPOTENT | {"POST", "PATCH"}


class Route:
    """An origin with the TLS settings and source address to reach it. It is the pool's key."""

    __slots__ = ("__weakref__", "authority", "host", "origin", "peer", "secure")

    def __init__(self, url: urls.Url, peer: Peer) -> None:
        self.host = url.host
        self.authority = url.authority
        self.origin = f"{url.scheme}://{url.authority}"
        self.secure = url.scheme == "https"
        self.peer = peer


class RequestTarget:
    """A method and a URL with the session's header fields, ready to send.

    `path` is without the query, `uri` with it. `fields`: the lines of the session's fields.
    `head`: the request line and `fields`. `tail`: the end of a request without a body.
    `wire`: `head` and `tail`.
    """

    __slots__ = ("fields", "head", "method", "name", "path", "route", "tail", "uri", "url", "wire")

    def __init__(self, method: str, route: Route, path: str, uri: str, fields: bytes) -> None:
        self.method = method
        self.route = route
        self.path = path
        self.uri = uri
        self.fields = fields
        self.url = route.origin + uri
        self.name = f"{method} {path}"
        self.head = f"{method} {uri} HTTP/1.1\r\n".encode() + fields
        self.tail = b"\r\n" if self.bodiless else b"Content-Length: 0\r\n\r\n"
        self.wire = self.head + self.tail

    @property
    def idempotent(self) -> bool:
        """Whether the request may be sent twice (RFC 9110, 9.2.2)."""
        return self.method in _IDEMPOTENT

    @property
    def bodiless(self) -> bool:
        """Whether a request without a body has no Content-Length, as in requests."""
        return self.method in _WITHOUT_BODY

    def with_query(self, query: str) -> "RequestTarget":
        """Return this target with `query`, already encoded, added to the URL."""
        joint = "&" if "?" in self.uri else "?"
        uri = f"{self.uri}{joint}{query}"
        return RequestTarget(self.method, self.route, self.path, uri, self.fields)


@dataclass(frozen=True, slots=True)
class Common:
    """The settings that all requests of a session share."""

    base_url: str
    fields: tuple[tuple[str, str], ...]
    verify: Verify
    cert: Certificate
    source: SourceAddress
    basic: HTTPBasicAuth | None


class Template:
    """Makes and caches the targets for sessions with the same settings.

    `cache`: the cached targets by method and URL. `given`: the names of the session's fields in
    lower case. `names`: those, and the ones that a target computes; fields of a request replace
    them. `plain`: whether a request without arguments can add what it computes to all of them.
    """

    __slots__ = ("__weakref__", "_base", "_common", "cache", "given", "names", "plain")

    def __init__(self, common: Common) -> None:
        self._common = common
        self._base: RequestTarget | None = None
        self.given = frozenset(name.lower() for name, _ in common.fields)
        self.names = self.given | {"host", "authorization"}
        self.plain = self.given.isdisjoint(_COMPUTED)
        self.cache: dict[tuple[str, str], RequestTarget] = {}

    @classmethod
    def of(cls, common: Common) -> "Template":
        """Return the shared template for these settings."""
        found = _templates.get(common)
        if found is None:
            found = _templates[common] = cls(common)
        return found

    def target(self, method: str, url: str) -> RequestTarget:
        """Return and cache the target of a request without headers.

        Raises InvalidURL and InvalidHeader.
        """
        if method in _KNOWN and _PLAIN(url) and "/." not in url:
            made = self._below_base(method, url)
        else:
            made = self.make(method, url)
        if len(self.cache) >= TARGETS_MAX:
            self.cache.clear()  # many different URLs; the reused ones are soon cached again
        self.cache[method, url] = made
        return made

    def make(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str | None] | None = None,
        without: Collection[str] = (),
    ) -> RequestTarget:
        """Return a target with `headers` in addition to the session's, minus those in `without`.

        A header replaces the session's of the same name; the value None removes it. `without` has
        names in lower case. As in requests, `auth` replaces a given Authorization.

        Raises InvalidURL and InvalidHeader.
        """
        if not is_token(method):
            raise InvalidHeader(INVALID_HEADER, f"{method!r} is not a valid method")
        parts = urls.split(urls.join(self._common.base_url, url))
        fields = Headers(self._common.fields)
        for name, value in (headers or {}).items():
            if value is None:
                fields.pop(name, None)
            else:
                fields[name] = value
        if self._common.basic is not None:
            fields["Authorization"] = self._common.basic.header
        for name in without:
            fields.pop(name, None)
        if parts.user is not None:
            fields["Authorization"] = HTTPBasicAuth(parts.user, parts.password).header
        route = self._route(parts)
        host = fields.pop("Host", route.authority)
        lines = encode([("Host", host), *fields.items()])
        return RequestTarget(method, route, parts.path, parts.target, lines)

    def _below_base(self, method: str, url: str) -> RequestTarget:
        """Return the target of a path that needs no encoding, made from the base URL's target."""
        base = self._base
        if base is None:
            base = self._base = self.make("GET", "")
        prefix = base.uri.rstrip("/")
        if "?" in prefix:
            return self.make(method, url)
        uri = prefix + url
        return RequestTarget(method, base.route, uri.partition("?")[0], uri, base.fields)

    def _route(self, url: urls.Url) -> Route:
        verify, cert, source = self._common.verify, self._common.cert, self._common.source
        key = (url.scheme, url.host, url.port, verify, cert, source)
        found = _routes.get(key)
        if found is None:
            secured = context(verify, cert, PROTOCOLS) if url.scheme == "https" else None
            found = Route(url, Peer(url.host, url.port, secured, source))
            _routes[key] = found
        return found


_templates: WeakValueDictionary[object, Template] = WeakValueDictionary()
_routes: WeakValueDictionary[object, Route] = WeakValueDictionary()
