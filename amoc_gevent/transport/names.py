"""Host names to addresses, asked of the resolver once a minute for all users of a worker."""

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
"""An address family and what `connect` takes with it."""

_known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
_asking: dict[tuple[str, int], "AsyncResult[list[Address]]"] = {}


def resolve(host: str, port: int, deadline: float) -> list[Address] | None:
    """Return the addresses of `host` in the resolver's order (RFC 6724), IPv6 and IPv4.

    A numeric address is returned as it is. Users that ask for the same name at the same time wait
    for one answer, until `deadline` (monotonic seconds) at most; None when it has passed. Raises
    TransportError "name not found"; a failure is not kept.
    """
    key = (host, port)
    known = _known.get(key)
    if known is not None and clock.monotonic() < known[0]:
        return known[1]
    try:
        return _keep(key, _ask(_socket.getaddrinfo, key, socket.AI_NUMERICHOST), NEVER)
    except (OSError, UnicodeError):
        pass  # a name, then: the thread pool asks, so that the hub does not wait
    asked = _asking.get(key)
    if asked is None:
        asked = _asking[key] = AsyncResult()
        gevent.spawn(_answer, key, asked)
    asked.wait(None if deadline == NEVER else max(0.0, deadline - clock.monotonic()))
    return asked.get() if asked.ready() else None


def _ask(getaddrinfo: Callable[..., Any], key: tuple[str, int], flags: int) -> list[Address]:
    found = getaddrinfo(*key, 0, socket.SOCK_STREAM, 0, flags)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _answer(key: tuple[str, int], asked: "AsyncResult[list[Address]]") -> None:
    try:
        asked.set(_keep(key, _ask(getaddrinfo, key, 0), clock.monotonic() + KEEP_SECONDS))
    except BaseException as error:  # the boundary of a look-up: whoever waits for it must hear
        reason = getattr(error, "strerror", None) or str(error)
        asked.set_exception(TransportError(NAME_NOT_FOUND, f"{key[0]} ({reason})"))
        if not isinstance(error, OSError | UnicodeError):
            raise
    finally:
        del _asking[key]


def _keep(key: tuple[str, int], addresses: list[Address], until: float) -> list[Address]:
    if len(_known) >= 10_000:
        _known.clear()
    _known[key] = (until, addresses)
    return addresses
