"""What a request can raise, under the names that users of requests know (N818) and one root."""

from amoc_gevent.errors import AmocError
from amoc_gevent.transport import TransportError, TransportTimeout

INCOMPLETE = "incomplete response"
INVALID = "invalid response"
INVALID_URL = "invalid URL"
INVALID_HEADER = "invalid header"
TOO_LARGE = "response too large"
TOO_MANY_REDIRECTS = "too many redirects"
UNREPEATABLE = "body cannot be sent again"
SCENARIO_TIMEOUT = "scenario time-out"


class RequestError(AmocError):
    """A request failed; `kind` is the short name that errors are grouped by in the figures.

    It was recorded before it is raised.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


class ConnectionError(RequestError):  # noqa: A001
    """No connection could be made, or it broke before the response."""


class Timeout(RequestError):  # noqa: N818
    """The response, or the connection, did not come in time."""


class ConnectTimeout(ConnectionError, Timeout):  # noqa: N818
    """The connection was not there in time."""


class ReadTimeout(Timeout):
    """The response did not come in time."""


class InvalidResponse(RequestError):  # noqa: N818
    """What came is no whole HTTP response, or a larger one than allowed."""


class TooManyRedirects(RequestError):  # noqa: N818
    """A chain of redirects was longer than 30."""


class InvalidURL(RequestError):  # noqa: N818
    """The URL cannot be requested; nothing was sent."""


class InvalidHeader(RequestError):  # noqa: N818
    """A method, header or cookie cannot be sent as it is; nothing was sent."""


class JSONDecodeError(RequestError, ValueError):
    """`Response.json` found something else than JSON."""


def from_transport(error: TransportError) -> RequestError:
    """Translate an error of the stream into one of this family; kind and message stay."""
    made: type[RequestError] = ConnectionError
    if isinstance(error, TransportTimeout):
        made = ConnectTimeout if error.kind == "connect time-out" else ReadTimeout
    translated = made(error.kind)
    translated.args = error.args
    return translated
