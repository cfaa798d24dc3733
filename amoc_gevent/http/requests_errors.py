"""The kinds of errors of requests and urllib3. They are the same as those of `http.Session`."""

import http.client
from collections.abc import Iterator
from typing import Any

import requests
import urllib3

from amoc_gevent.http.errors import INCOMPLETE, INVALID, INVALID_HEADER, INVALID_URL
from amoc_gevent.transport import errors
from amoc_gevent.transport.errors import (
    CLOSED,
    CONNECT_TIMEOUT,
    NAME_NOT_FOUND,
    READ_TIMEOUT,
    from_os_error,
)

UNSENDABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidHeader,
)

_KINDS: list[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = [
    (requests.exceptions.InvalidHeader, INVALID_HEADER),
    (UNSENDABLE, INVALID_URL),
    ((requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError), READ_TIMEOUT),
    (urllib3.exceptions.NameResolutionError, NAME_NOT_FOUND),
    (http.client.RemoteDisconnected, CLOSED),
    (http.client.IncompleteRead, INCOMPLETE),
    ((http.client.HTTPException, urllib3.exceptions.DecodeError), INVALID),
    ((requests.RequestException, TimeoutError), ""),  # their causes tell more
]


def kind_of_requests_error(error: BaseException) -> str:
    """Return the kind of an error, found from the innermost cause that has one."""
    if isinstance(error, requests.ConnectTimeout):
        return CONNECT_TIMEOUT
    kind = ""
    for cause in _chain(error):
        kind = _kind_of_cause(cause) or kind
    return kind or errors.kind_of(error)


def _kind_of_cause(cause: BaseException) -> str:
    if isinstance(cause, urllib3.exceptions.InvalidChunkLength):
        return INVALID
    if isinstance(cause, urllib3.exceptions.ProtocolError) and len(cause.args) == 1:
        return INCOMPLETE  # "Response ended prematurely" in chunks. Others have a cause
    for types, kind in _KINDS:
        if isinstance(cause, types):
            return kind
    return from_os_error(cause, "").kind if isinstance(cause, OSError) else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, from the outermost to the innermost."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        found = waiting.pop(0)
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [getattr(found, "reason", None), found.__cause__, *found.args]
