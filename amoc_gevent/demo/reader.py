"""The parser of one connection's requests (RFC 9112, with llhttp), with limits and without I/O."""

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from amoc_gevent.demo.messages import AfterReply, Reply, Request
from amoc_gevent.demo.pages import error
from amoc_gevent.errors import AmocError

HEAD_MAX = 64 << 10
BODY_MAX = 16 << 20
RAW_MAX = 2048

CONTINUE = Reply(b"HTTP/1.1 100 Continue\r\n\r\n")


class _Refused(AmocError):  # noqa: N818  # the client's fault, not ours
    """Stops the parser. Carries the status and the error message."""


class RequestReader:
    """Parses the requests of one client.

    Close the connection after a refusal: the reader parses nothing after it.
    """

    __slots__ = (
        "_body",
        "_body_size",
        "_client",
        "_found",
        "_head_size",
        "_headers",
        "_in_head",
        "_parser",
        "_url",
        "in_request",
    )

    def __init__(self, client: str) -> None:
        self.in_request = False
        self._client = client
        self._parser = HttpRequestParser(self)
        self._found: list[Request | Reply] = []
        self._in_head = False

    def feed(self, data: bytes) -> list[Request | Reply]:
        """Return the requests that `data` completes, and replies to send in their place."""
        found: list[Request | Reply] = []
        self._found = found
        alone = not self.in_request
        try:
            self._parser.feed_data(data)
            if self._in_head:
                self._grow_head(len(data))
        except HttpParserUpgrade:
            pass  # no upgrade is supported: answer the request as usual and close
        except (HttpParserError, _Refused) as wrong:
            found.append(_refusal(wrong))
            return found
        if alone and not self.in_request and len(found) == 1 and len(data) <= RAW_MAX:
            only = found[0]
            if isinstance(only, Request):
                only.raw = data
        return found

    def on_message_begin(self) -> None:
        """Begin a request. The parser calls this method and the ones below."""
        self.in_request = self._in_head = True
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._head_size = self._body_size = 0

    def on_url(self, url: bytes) -> None:
        """Append a part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add one header."""
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Check the head before the body arrives."""
        self._in_head = False
        size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)
        self._head_size = 0
        self._grow_head(size)
        names = {name.lower(): value for name, value in self._headers}
        version = self._parser.get_http_version()
        if version == "1.1" and "host" not in names:
            raise _Refused(400, "an HTTP/1.1 request needs a Host header")
        if int(names.get("content-length") or 0) > BODY_MAX:
            raise _Refused(413, f"a body may have {BODY_MAX} bytes")
        if version == "1.1" and names.get("expect", "").lower() == "100-continue":
            self._found.append(CONTINUE)

    def on_body(self, data: bytes) -> None:
        """Append a part of the body."""
        self._body_size += len(data)
        if self._body_size > BODY_MAX:
            raise _Refused(413, f"a body may have {BODY_MAX} bytes")
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Finish the request."""
        parser = self._parser
        self.in_request = False
        path, _, query = _origin_form(self._url.decode("latin-1")).partition("?")
        self._found.append(
            Request(
                method=parser.get_method().decode("ascii"),
                path=path,
                query=query,
                headers=self._headers,
                body=b"".join(self._body),
                version=parser.get_http_version(),
                keep_alive=parser.should_keep_alive() and not parser.should_upgrade(),
                client=self._client,
            )
        )

    def _grow_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > HEAD_MAX:
            raise _Refused(431, f"a head may have {HEAD_MAX} bytes")


def _origin_form(target: str) -> str:
    """Return the path and query of a target, also of the absolute form that proxies receive."""
    scheme, separator, rest = target.partition("://")
    if not separator or "/" in scheme:
        return target
    slash = rest.find("/")
    return rest[slash:] if slash >= 0 else "/"


def _refusal(wrong: Exception) -> Reply:
    cause = wrong.__context__ if isinstance(wrong.__context__, _Refused) else wrong
    status, message = cause.args if isinstance(cause, _Refused) else (400, f"malformed: {wrong}")
    return Reply(error(status, message).encode(keep_alive=False), AfterReply.CLOSE)
