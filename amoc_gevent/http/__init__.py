"""The HTTP client for scenarios: `from amoc_gevent import http`, `http.Session(base_url)`."""

from typing import TYPE_CHECKING, Any

from amoc_gevent.http.auth import HTTPBasicAuth, HTTPDigestAuth
from amoc_gevent.http.errors import (
    ConnectionError,  # noqa: A004  # as in requests
    ConnectTimeout,
    InvalidHeader,
    InvalidResponse,
    InvalidURL,
    JSONDecodeError,
    ReadTimeout,
    RequestError,
    SSLError,
    Timeout,
    TooManyRedirects,
)
from amoc_gevent.http.recording import Exchange, observe
from amoc_gevent.http.response import HTTPError, Response
from amoc_gevent.http.session import Session

if TYPE_CHECKING:
    from amoc_gevent.http.requests_session import RequestsSession

__all__ = [
    "ConnectTimeout",
    "ConnectionError",
    "Exchange",
    "HTTPBasicAuth",
    "HTTPDigestAuth",
    "HTTPError",
    "InvalidHeader",
    "InvalidResponse",
    "InvalidURL",
    "JSONDecodeError",
    "ReadTimeout",
    "RequestError",
    "RequestsSession",
    "Response",
    "SSLError",
    "Session",
    "Timeout",
    "TooManyRedirects",
    "observe",
]


def __getattr__(name: str) -> Any:  # PEP 562
    """Import requests only when RequestsSession is used."""
    if name == "RequestsSession":
        from amoc_gevent.http.requests_session import RequestsSession  # noqa: PLC0415

        return RequestsSession
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
