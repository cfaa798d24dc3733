"""URLs: joining, percent-encoding and splitting, as in requests (RFC 3986)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from amoc_gevent.addresses import url_host
from amoc_gevent.core.setting import hint_of
from amoc_gevent.errors import UsageError
from amoc_gevent.http.errors import INVALID_URL, InvalidURL

DEFAULT_PORTS = {"http": 80, "https": 443}

Params = Mapping[str, Any] | Iterable[tuple[str, Any]] | str | bytes | None

_CONTROL = re.compile(r"[\x00-\x20\x7f]").search
_HOST = re.compile(r"[\w.:%~!$&'()*+,;=-]+", re.ASCII).fullmatch
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SAFE = "!$&'()*+,/:;=?@~"


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a URL for a request. `path` is without the query, `target` with it."""

    scheme: str
    host: str
    port: int
    path: str
    target: str
    user: str | None
    password: str

    @property
    def authority(self) -> str:
        """The value of the Host header: the host, and the port unless it is the default."""
        host = url_host(self.host)
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def as_text(url: object) -> str:
    """Return a URL as text: bytes are UTF-8, and any other object stands for its `str`.

    Raises UsageError for a setting, whose `value` is meant.
    """
    if isinstance(url, str):
        return url
    if hint := hint_of(url):
        raise UsageError(f"a URL must be text{hint}")
    return url.decode("utf-8", "replace") if isinstance(url, bytes) else str(url)


def join(base: str, url: object) -> str:
    """Return an absolute `url` as text, else `base` with `url` appended. Raises InvalidURL."""
    url = as_text(url)
    if url.startswith("/") or (base and (not url or url.startswith("?"))):
        if not base:
            raise InvalidURL(INVALID_URL, f"{url!r} needs a Session(base_url)")
        return base.rstrip("/") + url if url else base
    if "://" not in url:
        raise InvalidURL(
            INVALID_URL, f"{url!r} must begin with http://, https:// or, with a base_url, /"
        )
    return url


def follow(url: str, location: str) -> str:
    """Resolve `location` from the response to `url`. Raises InvalidURL."""
    try:
        raw = location.encode("latin-1").decode()
    except UnicodeError:
        raw = location
    try:
        led = urljoin(url, raw.strip())
        _ = urlsplit(led).port
    except ValueError as error:
        raise InvalidURL(INVALID_URL, f"{raw!r}, from {url}: {error}") from None
    return led


def without_user(url: str) -> str:
    """Return a URL without user and password."""
    before, slashes, rest = url.partition("//")
    place, slash, path = rest.partition("/")
    return f"{before}{slashes}{place.rpartition('@')[2]}{slash}{path}"


def encode(params: Params) -> str:
    """Encode `params` as a query, "" for none. Values of None are left out."""
    if not params:
        return ""
    if isinstance(params, str | bytes):
        return requote(params.decode() if isinstance(params, bytes) else params)
    return form_encode(params)


def form_encode(fields: Mapping[str, Any] | Iterable[Any]) -> str:
    """Encode fields, a mapping or pairs, as application/x-www-form-urlencoded."""
    pairs: Iterable[Any] = fields.items() if isinstance(fields, Mapping) else fields
    return urlencode([(name, one) for name, value in pairs for one in values_of(value)])


def values_of(value: Any) -> list[Any]:
    """Return the values of a field that has one value or several. None is left out."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        value = [value]
    return [one for one in value if one is not None]


def with_query(url: str, query: str) -> str:
    """Add `query`, if any, to the query of `url`."""
    if not query:
        return url
    url, mark, fragment = url.partition("#")
    joint = "&" if "?" in url else "?"
    return f"{url}{joint}{query}{mark}{fragment}"


def split(url: str) -> Url:
    """Split and percent-encode an absolute URL. Raises InvalidURL with the reason."""
    bad = _CONTROL(url.strip().replace(" ", "%20"))
    if bad:
        raise InvalidURL(INVALID_URL, f"{url!r} has a control character")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = _ascii_host(parts.hostname or "")
    except (ValueError, UnicodeError) as error:
        raise InvalidURL(INVALID_URL, f"{url!r}: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise InvalidURL(INVALID_URL, f"{url!r}: the scheme must be http or https")
    if not _HOST(host):
        raise InvalidURL(INVALID_URL, f"{url!r} has no valid host")
    path = requote(_without_dots(parts.path)) or "/"
    target = f"{path}?{requote(parts.query)}" if parts.query else path
    user = None if parts.username is None else unquote(parts.username)
    return Url(
        scheme=scheme,
        host=host,
        port=port if port is not None else DEFAULT_PORTS[scheme],
        path=path,
        target=target,
        user=user,
        password=unquote(parts.password or ""),
    )


def requote(text: str) -> str:
    """Normalize the percent-encoding of a path or a query.

    Encode characters that need it and decode escapes of characters that do not. Other escapes stay,
    unless a stray "%" shows that the text was not encoded.
    """
    if text.count("%") != len(_ESCAPE.findall(text)):
        return quote(text, safe=_SAFE)
    return quote(_ESCAPE.sub(_decode_unreserved, text), safe=_SAFE + "%")


def _decode_unreserved(escape: re.Match[str]) -> str:
    char = chr(int(escape[1], 16))
    return char if char in _UNRESERVED else f"%{escape[1].upper()}"


def _ascii_host(host: str) -> str:
    """Encode a host in another script as browsers do (UTS 46). Raises UnicodeError."""
    if host.isascii():
        return host
    import idna  # noqa: PLC0415  # slow to import, and few hosts need it

    return idna.encode(host, uts46=True).decode()


def _without_dots(path: str) -> str:
    """Resolve "." and ".." (RFC 3986, 5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
