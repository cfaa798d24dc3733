"""Errors of requests, named as in the requests library (hence N818), with HTTP's own kinds.

Kinds of other errors are in `transport/errors.py`, that of a status in `recording.status_error`.
"""

import json

from amoc_gevent.transport import TransportError, TransportTimeout
from amoc_gevent.transport.errors import CONNECT_TIMEOUT, OperationError

INCOMPLETE = "incomplete response"
INVALID = "invalid response"
INVALID_URL = "invalid URL"
INVALID_HEADER = "invalid header"
TOO_LARGE = "response too large"
TOO_MANY_REDIRECTS = "too many redirects"
UNREPEATABLE = "body cannot be sent again"


class RequestError(OperationError):
    """A request failed. The failure is recorded before this is raised.

    `response`: the `Response` that caused it, None if there was none.
    """

    response: object = None


class ConnectionError(RequestError):  # noqa: A001
    """Connecting failed, or the connection broke before the response."""


class SSLError(ConnectionError):
    """The TLS handshake failed, or the certificate is not trusted."""


class Timeout(RequestError):  # noqa: N818
    """Connecting or the response took too long."""


class ConnectTimeout(ConnectionError, Timeout):  # noqa: N818
    """Connecting took too long."""


class ReadTimeout(Timeout):
    """The response took too long."""


class InvalidResponse(RequestError):  # noqa: N818
    """The response is incomplete, not valid HTTP, or too large."""


class TooManyRedirects(RequestError):  # noqa: N818
    """There were more than 30 redirects in a row."""


class InvalidURL(RequestError):  # noqa: N818
    """The URL is invalid. Nothing was sent."""


class InvalidHeader(RequestError):  # noqa: N818
    """A method, header or cookie contains invalid characters. Nothing was sent."""


class JSONDecodeError(RequestError, json.JSONDecodeError):
    """`Response.json` found a body that is not JSON: `msg` says why, at `pos` of the text `doc`."""

    def __init__(self, why: str, doc: str, pos: int, place: str) -> None:
        json.JSONDecodeError.__init__(self, why, doc, pos)
        self.kind = "invalid JSON"
        self.args = (f"{self.kind}: {self.args[0]}, {place}",)


def from_transport(error: TransportError) -> RequestError:
    """Convert an error of the transport, with its kind and message."""
    made: type[RequestError] = ConnectionError
    if isinstance(error, TransportTimeout):
        made = ConnectTimeout if error.kind == CONNECT_TIMEOUT else ReadTimeout
    elif error.kind.startswith("TLS"):
        made = SSLError
    translated = made(error.kind)
    translated.args = error.args
    return translated
