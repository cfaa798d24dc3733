"""Where DNS says that a domain's XMPP servers are: SRV records (RFC 6120 3.2, XEP-0368)."""

import random

import dns.exception
import dns.name
import dns.resolver

from amoc_gevent import clock
from amoc_gevent.transport import TransportError
from amoc_gevent.transport.errors import NAME_NOT_FOUND
from amoc_gevent.xmpp.errors import ConnectionFailed

KEEP_SECONDS = 60.0

Place = tuple[str, int]

_known: dict[tuple[str, bool], tuple[float, list[tuple[int, int, Place]]]] = {}


def places(domain: str, direct: bool, timeout: float) -> list[Place]:
    """Return the servers of `domain` in the order to try them; none where DNS names none.

    `direct` asks for those of direct TLS. Servers of one priority are shuffled by their weight
    (RFC 2782), anew for each user; the answer is kept for a minute for all users of a worker.
    Raises ConnectionFailed where DNS says that the domain has no such service.
    """
    key = (domain, direct)
    known = _known.get(key)
    if known is None or known[0] < clock.monotonic():
        known = _known[key] = (clock.monotonic() + KEEP_SECONDS, _ask(domain, direct, timeout))
    return _shuffled(known[1])


def _ask(domain: str, direct: bool, timeout: float) -> list[tuple[int, int, Place]]:
    service = "_xmpps-client._tcp" if direct else "_xmpp-client._tcp"
    try:
        answer = dns.resolver.resolve(f"{service}.{domain}", "SRV", lifetime=timeout)
    except dns.exception.DNSException:
        return []  # no records, or nobody to ask: the domain's own address is what is left
    found = [
        (one.priority, one.weight, (one.target.to_text(omit_final_dot=True), one.port))
        for one in answer
        if one.target != dns.name.root
    ]
    if not found:  # "." says so decidedly (RFC 6120 3.2.1)
        raise ConnectionFailed(
            TransportError(NAME_NOT_FOUND, f"{domain} has no service {service} (SRV)")
        )
    return found


def _shuffled(records: list[tuple[int, int, Place]]) -> list[Place]:
    left = sorted(records, key=lambda record: record[0])
    found = []
    while left:
        same = [record for record in left if record[0] == left[0][0]]
        chosen = random.choices(same, [record[1] + 1 for record in same])[0]
        left.remove(chosen)
        found.append(chosen[2])
    return found
