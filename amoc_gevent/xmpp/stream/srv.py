"""The addresses of a domain's XMPP servers, from SRV records (RFC 6120 3.2, XEP-0368)."""

import random

import dns.exception
import dns.name
import dns.resolver
from gevent.event import Event

from amoc_gevent import clock
from amoc_gevent.transport import TransportError
from amoc_gevent.transport.errors import NAME_NOT_FOUND
from amoc_gevent.xmpp.errors import ConnectionFailed

CACHE_SECONDS = 60.0

Address = tuple[str, int]
Records = list[tuple[int, int, Address]]
"""Priority, weight and address of each server."""

_Key = tuple[str, bool]

_cache: dict[_Key, tuple[float, Records | None]] = {}
_pending: dict[_Key, Event] = {}


def addresses(domain: str, direct: bool, timeout: float) -> list[Address]:
    """Return the servers of `domain` in the order to try them; an empty list if DNS has none.

    `direct` selects direct TLS. Servers of equal priority are shuffled by weight (RFC 2782) for
    each user. The answer is cached for a minute for all users of a worker. Raises ConnectionFailed
    if DNS states that the domain has no such service.
    """
    records = _records((domain, direct), timeout)
    if records is None:
        raise ConnectionFailed(
            TransportError(NAME_NOT_FOUND, f"{domain} has no service {_service(direct)} (SRV)")
        )
    return _ordered(records)


def _records(key: _Key, timeout: float) -> Records | None:
    """Return cached records, or query DNS. Concurrent users wait for the same answer."""
    deadline = clock.monotonic() + timeout
    while (known := _cache.get(key)) is None or known[0] < clock.monotonic():
        left = deadline - clock.monotonic()
        asked = _pending.get(key)
        if left <= 0:
            return []
        if asked is not None:
            asked.wait(left)
            continue
        asked = _pending[key] = Event()
        try:
            found = _ask(*key, left)
            _cache[key] = (clock.monotonic() + CACHE_SECONDS, found)
        finally:  # if this user is killed meanwhile, another one asks
            del _pending[key]
            asked.set()
    return known[1]


def _service(direct: bool) -> str:
    return "_xmpps-client._tcp" if direct else "_xmpp-client._tcp"


def _ask(domain: str, direct: bool, timeout: float) -> Records | None:
    """Query DNS. Return None if it states that there is no such service (RFC 6120 3.2.1)."""
    try:
        answer = dns.resolver.resolve(f"{_service(direct)}.{domain}", "SRV", lifetime=timeout)
    except dns.exception.DNSException:
        return []  # no records or no resolver: fall back to the domain's own address
    return [
        (one.priority, one.weight, (one.target.to_text(omit_final_dot=True), one.port))
        for one in answer
        if one.target != dns.name.root
    ] or None


def _ordered(records: Records) -> list[Address]:
    left = sorted(records, key=lambda record: record[0])
    found = []
    while left:
        same = [record for record in left if record[0] == left[0][0]]
        chosen = random.choices(same, [record[1] + 1 for record in same])[0]
        left.remove(chosen)
        found.append(chosen[2])
    return found
