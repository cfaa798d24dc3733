"""The DNS cache: one lookup per name and minute, none for numeric addresses."""

import socket

import gevent
import pytest

from amoc_gevent import clock
from amoc_gevent.transport import TransportError, names

NEVER = float("inf")


@pytest.fixture
def asked(monkeypatch):
    """The names that the resolver was asked for. Each resolves to 10.0.0.1 after a moment."""
    seen = []

    def getaddrinfo(host, port, *_):
        seen.append(host)
        gevent.idle()
        if host.startswith("missing"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port))] * 2

    monkeypatch.setattr(names, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(names, "_cache", {})
    return seen


def test_a_name_is_looked_up_once_a_minute(asked, monkeypatch):
    addresses = [(socket.AF_INET, ("10.0.0.1", 80))]
    now = clock.monotonic()
    assert names.resolve("host.example", 80, NEVER) == addresses
    monkeypatch.setattr(clock, "monotonic", lambda: now + 59)
    assert names.resolve("host.example", 80, NEVER) == addresses
    assert asked == ["host.example"]
    monkeypatch.setattr(clock, "monotonic", lambda: now + 61)
    names.resolve("host.example", 80, NEVER)
    assert asked == ["host.example"] * 2


def test_simultaneous_lookups_of_a_name_share_one_query(asked):
    asking = [gevent.spawn(names.resolve, "host.example", 80, NEVER) for _ in range(20)]
    gevent.joinall(asking, raise_error=True)
    assert asked == ["host.example"]


def test_a_killed_caller_does_not_cancel_the_lookup_of_others(asked):
    asking = [gevent.spawn(names.resolve, "host.example", 80, NEVER) for _ in range(3)]
    gevent.sleep(0)
    asking[0].kill()
    gevent.joinall(asking[1:], raise_error=True)
    assert asking[1].value == asking[2].value


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.1.2.3"])
def test_a_numeric_address_is_never_looked_up(asked, host):
    found = names.resolve(host, 8080, NEVER)
    assert [address[:2] for _, address in found] == [(host, 8080)]
    assert asked == []


def test_a_killed_lookup_raises_in_all_waiting_callers(asked, monkeypatch):
    def killed(*_):
        raise gevent.GreenletExit

    monkeypatch.setattr(names, "getaddrinfo", killed)
    with pytest.raises(TransportError, match="name not found"):
        names.resolve("host.example", 80, NEVER)


def test_a_failure_reaches_all_waiting_callers_and_is_not_cached(asked):
    asking = [gevent.spawn(names.resolve, "missing.example", 80, NEVER) for _ in range(3)]
    gevent.joinall(asking)
    assert [type(a.exception) for a in asking] == [TransportError] * 3
    with pytest.raises(TransportError, match="name not found: missing"):
        names.resolve("missing.example", 80, NEVER)
    assert len(asked) == 2


def test_a_lookup_ends_at_the_deadline(monkeypatch):
    waiting = gevent.event.Event()
    monkeypatch.setattr(names, "getaddrinfo", lambda *_: waiting.wait() and [])
    assert names.resolve("slow.example", 80, clock.monotonic() + 0.02) is None
    waiting.set()


def test_localhost_has_all_its_addresses():
    addresses = names.resolve("localhost", 80, NEVER)
    assert ("127.0.0.1", 80) in [address[:2] for _, address in addresses]
    assert len(addresses) == len(set(addresses))
