"""The requests that the demo server reads and the answers that it writes."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import NamedTuple

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Request:
    """One complete request. Header names are as the client sent them; `path` has no query.

    `raw` holds the bytes of a short request that arrived alone, otherwise it is empty.
    """

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    version: str
    keep_alive: bool
    client: str
    raw: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the value of the first header `name` (given in lower case), or None."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def cookie(self, name: str) -> str | None:
        """Return the value of the cookie `name`, or None."""
        for key, line in self.headers:
            if key.lower() == "cookie":
                for pair in line.split(";"):
                    found, _, value = pair.strip().partition("=")
                    if found == name:
                        return value
        return None


class PageAnswer(NamedTuple):
    """The answer to one request.

    It is sent after `delay` (s). A `cacheable` answer is the same for the same request bytes, so
    the server may cache it.
    """

    status: int
    body: bytes = b""
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    cacheable: bool = False
    chunks: tuple[bytes, ...] | None = None

    def encode(
        self, method: str = "GET", version: str = "1.1", *, keep_alive: bool = True
    ) -> bytes:
        """Return the bytes of the answer on the wire (RFC 9112)."""
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unknown')}"]
        body = self.body
        if self.status not in (204, 304):
            lines.append(f"Content-Type: {self.content_type}")
            if self.chunks is not None and version == "1.1":
                lines.append("Transfer-Encoding: chunked")
                body = chunked(self.chunks)
            else:
                body = b"".join(self.chunks) if self.chunks is not None else body
                lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        if not keep_alive:
            lines.append("Connection: close")
        elif version == "1.0":
            lines.append("Connection: keep-alive")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head if method == "HEAD" or self.status in (204, 304) else head + body


class AfterReply(Enum):
    """What to do with the connection after a reply."""

    KEEP_OPEN = auto()
    CLOSE = auto()
    RESET = auto()
    SILENCE = auto()


class Reply(NamedTuple):
    """Bytes to send after `delay` seconds, and what to do with the connection `after` them."""

    data: bytes
    after: AfterReply = AfterReply.KEEP_OPEN
    delay: float = 0.0


def chunked(chunks: Iterable[bytes]) -> bytes:
    """Return `chunks` in the chunked transfer coding, the last chunk included (RFC 9112, 7.1)."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
