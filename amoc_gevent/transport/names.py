"""The DNS cache of a worker: it asks the resolver for each host name once a minute."""

import _socket
import socket
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.socket import getaddrinfo

from amoc_gevent import clock
from amoc_gevent.transport.errors import NAME_NOT_FOUND, TransportError

KEEP_SECONDS = 60.0
NEVER = float("inf")

Address = tuple[int, Any]
"""An address family and a socket address of that family."""

_cache: dict[tuple[str, int], tuple[float, list[Address]]] = {}
_queries: dict[tuple[str, int], "AsyncResult[list[Address]]"] = {}


def resolve(host: str, port: int, deadline: float) -> list[Address] | None:
    """Return the addresses of `host` in the resolver's order (RFC 6724), IPv6 and IPv4.

    A numeric address is returned unchanged. Users that look up the same name at the same time share
    one query. Returns None if there is no answer by `deadline` (monotonic seconds). Raises
    TransportError "name not found". Failures are not cached.
    """
    key = (host, port)
    cached = _cache.get(key)
    if cached is not None and clock.monotonic() < cached[0]:
        return cached[1]
    try:
        return _store(key, _lookup(_socket.getaddrinfo, key, socket.AI_NUMERICHOST), NEVER)
    except (OSError, UnicodeError):
        pass  # not numeric, so query in the thread pool, where it does not block the hub
    query = _queries.get(key)
    if query is None:
        query = _queries[key] = AsyncResult()
        gevent.spawn(_resolve_in_pool, key, query)
    query.wait(None if deadline == NEVER else max(0.0, deadline - clock.monotonic()))
    return query.get() if query.ready() else None


def _lookup(getaddrinfo: Callable[..., Any], key: tuple[str, int], flags: int) -> list[Address]:
    found = getaddrinfo(*key, 0, socket.SOCK_STREAM, 0, flags)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _resolve_in_pool(key: tuple[str, int], query: "AsyncResult[list[Address]]") -> None:
    try:
        query.set(_store(key, _lookup(getaddrinfo, key, 0), clock.monotonic() + KEEP_SECONDS))
    except BaseException as error:  # boundary of a lookup: its waiters must get the error
        reason = getattr(error, "strerror", None) or str(error)
        query.set_exception(TransportError(NAME_NOT_FOUND, f"{key[0]} ({reason})"))
        if not isinstance(error, OSError | UnicodeError):
            raise
    finally:
        del _queries[key]


def _store(key: tuple[str, int], addresses: list[Address], until: float) -> list[Address]:
    if len(_cache) >= 10_000:
        _cache.clear()
    _cache[key] = (until, addresses)
    return addresses
