"""A user's cookie jar (RFC 6265)."""

import re
from collections.abc import Iterator, Mapping, MutableMapping
from email.utils import mktime_tz, parsedate_tz
from http import cookiejar
from http.cookiejar import CookieJar
from ipaddress import ip_address
from typing import NamedTuple

from amoc_gevent import clock
from amoc_gevent.http.errors import INVALID_HEADER, InvalidHeader

NEVER = float("inf")
MAX_COOKIES = 3000
HEADERS_MAX = 64

_NO_COOKIES: Mapping[str, str] = {}

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f;]").search
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search


class Cookie(NamedTuple):
    """One cookie. A `domain` of "" matches every host; `expires` is in seconds since 1970."""

    name: str
    value: str
    domain: str = ""
    path: str = "/"
    secure: bool = False
    host_only: bool = False
    expires: float = NEVER

    def matches(self, host: str, path: str, secure: bool) -> bool:
        """Whether a request to this host and path sends the cookie (5.4)."""
        if self.secure and not secure:
            return False
        if self.domain and not (
            host == self.domain or (not self.host_only and _is_under(host, self.domain))
        ):
            return False
        return path == self.path or (
            path.startswith(self.path) and (self.path.endswith("/") or path[len(self.path)] == "/")
        )


class Cookies(MutableMapping[str, str]):
    """A cookie jar with the API of a dict from name to value.

    Cookies that a scenario sets by name are sent to every host. An empty jar costs a request
    nothing. Cookie headers are cached until a cookie changes or expires.
    """

    __slots__ = ("_cookies", "_earliest", "_headers")

    def __init__(self, cookies: "Cookies | CookieJar | Mapping[str, str] | None" = None) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}
        self._headers: dict[tuple[str, str, bool], bytes] = {}
        self._earliest = NEVER
        self.update(cookies or {})

    def update(  # type: ignore[override]  # the base takes no jar
        self, cookies: "Cookies | CookieJar | Mapping[str, str]" = _NO_COOKIES, /, **more: str
    ) -> None:
        """Set cookies: those of a jar with all their attributes, others for every host."""
        if isinstance(cookies, Cookies):
            for cookie in cookies._live():
                self._put(cookie)
        elif isinstance(cookies, CookieJar):
            for theirs in cookies:
                self._put(_of_jar(theirs))
        else:
            super().update(cookies)
        super().update(more)

    def set(self, name: str, value: str, domain: str = "", path: str = "/") -> None:
        """Set a cookie. Raises InvalidHeader for characters that a header cannot contain."""
        if not name or _FORBIDDEN(name) or "=" in name or _FORBIDDEN(value):
            raise InvalidHeader(INVALID_HEADER, f"a cookie cannot be {name!r}={value!r}")
        self._put(Cookie(name, value, domain.lstrip(".").lower(), path))

    def store(self, fields: list[str], host: str, path: str, secure: bool) -> None:
        """Store the cookies of Set-Cookie fields, from `host` for a request to `path`."""
        for field in fields:
            cookie = parse(field, host, path)
            if cookie is None or (cookie.secure and not secure):
                continue
            if cookie.expires <= clock.wall():
                if self._cookies.pop(_key(cookie), None) is not None:
                    self._changed()
            else:
                self._put(cookie)

    def header(self, host: str, path: str, secure: bool) -> bytes:
        """Return the value of a request's Cookie header, b"" for none."""
        if self._earliest <= clock.wall():
            self._expire()
        key = (host, path, secure)
        made = self._headers.get(key)
        if made is None:
            found = [c for c in self._cookies.values() if c.matches(host, path, secure)]
            found.sort(key=lambda c: -len(c.path))
            made = b"; ".join(_encoded(c) for c in found)
            if len(self._headers) >= HEADERS_MAX:
                self._headers.clear()
            self._headers[key] = made
        return made

    def get_dict(self, domain: str | None = None, path: str | None = None) -> dict[str, str]:
        """Return names and values, only those of `domain` or `path` if given."""
        return {
            c.name: c.value
            for c in self._live()
            if (domain is None or c.domain == domain) and (path is None or c.path == path)
        }

    def all(self) -> list[Cookie]:
        """Return the cookies with all their attributes."""
        return self._live()

    def __getitem__(self, name: str) -> str:
        for cookie in self._live():
            if cookie.name == name:
                return cookie.value
        raise KeyError(name)

    def __setitem__(self, name: str, value: str | None) -> None:
        if value is None:
            self.pop(name, None)
        else:
            self.set(name, value)

    def __delitem__(self, name: str) -> None:
        keys = [key for key, cookie in self._cookies.items() if cookie.name == name]
        if not keys:
            raise KeyError(name)
        for key in keys:
            del self._cookies[key]
        self._changed()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(cookie.name for cookie in self._live()))

    def __len__(self) -> int:
        return len(self._live())

    def __bool__(self) -> bool:
        return bool(self._cookies)

    def __repr__(self) -> str:
        return f"<Cookies {dict(self)}>"

    def copy(self) -> "Cookies":
        """Return an independent copy."""
        return Cookies(self)

    def merged(self, others: "Cookies") -> "Cookies":
        """Return an independent copy with `others`. They replace cookies of the same key."""
        made = self.copy()
        for cookie in others._live():
            made._put(cookie)
        return made

    def _put(self, cookie: Cookie) -> None:
        cookies, key = self._cookies, _key(cookie)
        if cookies.get(key) == cookie:
            return
        cookies[key] = cookie
        if len(cookies) > MAX_COOKIES:
            del cookies[next(iter(cookies))]
        self._earliest = min(self._earliest, cookie.expires)
        self._changed()

    def _changed(self) -> None:
        self._headers.clear()

    def _live(self) -> list[Cookie]:
        if self._earliest <= clock.wall():
            self._expire()
        return list(self._cookies.values())

    def _expire(self) -> None:
        now = clock.wall()
        self._cookies = {k: c for k, c in self._cookies.items() if c.expires > now}
        self._earliest = min((c.expires for c in self._cookies.values()), default=NEVER)
        self._changed()


def _of_jar(cookie: cookiejar.Cookie) -> Cookie:
    return Cookie(
        name=cookie.name,
        value=cookie.value or "",
        domain=cookie.domain.lstrip(".").lower(),
        path=cookie.path,
        secure=cookie.secure,
        host_only=bool(cookie.domain) and not cookie.domain_specified,
        expires=NEVER if cookie.expires is None else float(cookie.expires),
    )


def parse(field: str, host: str, path: str) -> Cookie | None:
    """Parse one Set-Cookie field (5.2, 5.3). Return None for one to ignore."""
    pair, *rest = field.split(";")
    name, equals, value = pair.partition("=")
    name = name.strip()
    if not equals or not name or _CONTROL(pair):
        return None
    attributes = {}
    for attribute in rest:  # the last of several with one name counts
        key, _, text = attribute.partition("=")
        attributes[key.strip().lower()] = text.strip()
    domain = attributes.get("domain", "").lstrip(".").lower()
    if domain and domain != host and not (_is_under(host, domain) and "." in domain):
        return None  # only for the host or a parent domain, but not a top-level one
    cookie_path = attributes.get("path", "")
    return Cookie(
        name=name,
        value=value.strip(),
        domain=domain or host,
        path=cookie_path if cookie_path.startswith("/") else _default_path(path),
        secure="secure" in attributes,
        host_only=not domain or _is_address(host),
        expires=_expiry(attributes),
    )


def _key(cookie: Cookie) -> tuple[str, str, str]:
    return (cookie.domain, cookie.path, cookie.name)


def _encoded(cookie: Cookie) -> bytes:
    """Encode a cookie for sending: in latin-1, as it was decoded, else in UTF-8."""
    text = f"{cookie.name}={cookie.value}"
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _is_under(host: str, domain: str) -> bool:
    return host.endswith("." + domain) and not _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _default_path(path: str) -> str:
    return path[: path.rfind("/")] or "/"


def _expiry(attributes: Mapping[str, str]) -> float:
    """Return when a cookie expires (seconds since 1970). Max-Age overrides Expires."""
    try:
        seconds = int(attributes["max-age"])
        return clock.wall() + seconds if seconds > 0 else 0.0
    except (KeyError, ValueError):
        pass
    parts = parsedate_tz(attributes.get("expires", ""))
    try:
        return NEVER if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError):
        return NEVER
