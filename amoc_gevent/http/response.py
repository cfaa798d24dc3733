"""The response to a request. It has the API of requests' Response and parses fields lazily."""

import json
from datetime import timedelta
from email.message import Message
from types import TracebackType
from typing import Any, Protocol, Self

from amoc_gevent.errors import UsageError
from amoc_gevent.http.cookies import Cookies
from amoc_gevent.http.errors import JSONDecodeError, RequestError
from amoc_gevent.http.timings import Timings
from amoc_gevent.http.wire import headers
from amoc_gevent.http.wire.heads import Head
from amoc_gevent.http.wire.target import RequestTarget

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class PendingCheck(Protocol):
    """The record of a response that waits for its `with` block."""

    entered: bool

    def fail(self, reason: str) -> None:
        """Count the operation as an error of kind `reason`."""

    def leave(self, raised: type[BaseException] | None) -> None:
        """Record the operation at the end of the block."""


class Response:
    """A complete response with its decoded body.

    All times are in µs, and bytes arrive when the kernel gets them.
    `connect_us`, `tls_us`: time for a new connection, None if the request used an open one.
    `first_byte_us`: from the send to the arrival of the first byte.
    `total_us`: time for connecting, and from the send to the arrival of the last byte.
    """

    connect_us: int | None = None
    tls_us: int | None = None
    first_byte_us = total_us = 0
    sent = b""
    pending: PendingCheck | None = None
    _headers: headers.Headers | None = None
    _history: "list[Response] | None" = None
    _encoding: str | None = None
    _declared = False

    def __init__(self, target: RequestTarget, head: Head, content: bytes) -> None:
        self.target = target
        self.status_code = head.status
        self.head = head
        self.content = content

    @property
    def method(self) -> str:
        """The method of the request."""
        return self.target.method

    @property
    def url(self) -> str:
        """The URL of the request; after redirects, the last one."""
        return self.target.url

    @property
    def reason(self) -> str:
        """The reason phrase, such as "Not Found"."""
        return self.head.raw.split(b"\r\n", 1)[0][13:].decode("latin-1")

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status_code < 400

    @property
    def headers(self) -> headers.Headers:
        """The header fields by case-insensitive name."""
        if self._headers is None:
            made = headers.Headers()
            for name, value in headers.parse(self.head.raw):
                made.add(name, value)
            self._headers = made
        return self._headers

    @property
    def cookies(self) -> Cookies:
        """The cookies that this response set."""
        jar = Cookies()
        route = self.target.route
        jar.store(
            headers.values(self.head.raw, b"set-cookie"), route.host, self.target.path, route.secure
        )
        return jar

    @property
    def history(self) -> "list[Response]":
        """The responses that redirected to this one, oldest first."""
        if self._history is None:
            self._history = []
        return self._history

    @property
    def timings(self) -> Timings:
        """All four durations in µs."""
        return Timings(self.total_us, self.first_byte_us, self.connect_us, self.tls_us)

    @property
    def elapsed(self) -> timedelta:
        """The time from the send to the first byte, plus the time for connecting."""
        parts = (self.connect_us or 0, self.tls_us or 0, self.first_byte_us)
        return timedelta(microseconds=sum(parts))

    @property
    def encoding(self) -> str | None:
        """The charset of Content-Type, or the default of its media type. Settable."""
        if self._encoding is None:
            content_type = Message()
            content_type["Content-Type"] = self.headers.get("Content-Type", "")
            charset = content_type.get_param("charset")
            if isinstance(charset, str):
                self._encoding, self._declared = charset.strip("'\""), True
            elif content_type.get_content_type() == "application/json":
                self._encoding = "utf-8"
            elif content_type.get_content_maintype() == "text" and "Content-Type" in self.headers:
                self._encoding = "ISO-8859-1"
        return self._encoding

    @encoding.setter
    def encoding(self, encoding: str) -> None:
        self._encoding, self._declared = encoding, True

    @property
    def text(self) -> str:
        """The body as text, with invalid bytes replaced. UTF-8 unless `encoding` differs."""
        try:
            return self.content.decode(self.encoding or "utf-8", "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self, **options: Any) -> Any:  # any JSON value
        """Parse the body as JSON. Raises JSONDecodeError.

        It is UTF-8, UTF-16 or UTF-32 (found out), unless its Content-Type or `encoding` says else.
        """
        try:
            return json.loads(self.text if self._charset() else self.content, **options)
        except json.JSONDecodeError as error:
            why, doc, pos = error.msg, error.doc, error.pos
        except UnicodeDecodeError as error:
            why, doc, pos = str(error), self.text, 0
        place = f"in {self.content[:40]!r} of {self.url}"
        raise JSONDecodeError(why, doc, pos, place)

    def _charset(self) -> str:
        """Return the declared encoding if it is one that `json.loads` does not find out, or ""."""
        encoding = (self.encoding or "").lower()
        return encoding if self._declared and not encoding.startswith("utf") else ""

    @property
    def is_redirect(self) -> bool:
        """Whether this is a redirect to a location."""
        return self.status_code in _REDIRECTS and bool(self.location)

    @property
    def location(self) -> str:
        """The Location of a redirect, "" for none."""
        return "".join(headers.values(self.head.raw, b"location")[:1])

    def raise_for_status(self) -> None:
        """Raise HTTPError for a status of 400 and above."""
        if self.status_code >= 400:
            raise HTTPError(self)

    def fail(self, reason: str) -> None:
        """Record this operation as an error of kind `reason`. Needs `check=True` and a block."""
        if self.pending is None:
            raise UsageError(
                "fail() needs a request with check=True: "
                "with session.get(url, check=True) as r: ..."
            )
        self.pending.fail(reason)

    def close(self) -> None:
        """Do nothing: the response is complete, and its connection is free."""

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"<Response [{self.status_code}]>"

    def __enter__(self) -> Self:
        if self.pending is not None:
            self.pending.entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.pending is not None:
            self.pending.leave(kind)


class HTTPError(RequestError):
    """`Response.raise_for_status` found a status of 400 or above in `response`."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"status {response.status_code}", f"{response.reason} for {response.url}")
        self.response = response
