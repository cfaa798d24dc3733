"""Target addresses from SRV records, and the use of local addresses in turn."""

import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

import dns.message
import dns.name
import dns.rcode
import dns.resolver
import dns.rrset
import gevent
import pytest
from gevent.event import Event

from amoc_gevent import metrics, settings, xmpp
from amoc_gevent.demo.xmpp import XmppServer as DemoServer
from amoc_gevent.errors import UsageError
from amoc_gevent.xmpp.stream import srv
from tests.transport.scripted import refused_port

DOMAIN = "chat.example"
PLAIN, DIRECT = f"_xmpp-client._tcp.{DOMAIN}.", f"_xmpps-client._tcp.{DOMAIN}."


class NameServer:
    """A DNS server on loopback, in a thread because the resolver may block this one."""

    def __init__(self, records: Mapping[str, list[str]]) -> None:
        self._records = records
        self.asked: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            data, sender = self._socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            name = query.question[0].name.to_text()
            self.asked[name] += 1
            answer = dns.message.make_response(query)
            if name in self._records:
                answer.answer.append(
                    dns.rrset.from_text(name, 60, "IN", "SRV", *self._records[name])
                )
            else:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(answer.to_wire(), sender)

    def __enter__(self) -> "NameServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()


@contextmanager
def naming(monkeypatch: pytest.MonkeyPatch, **records: list[str]) -> Iterator[NameServer]:
    """Run a name server with `plain` and `direct` records, and an empty cache."""
    known = {{"plain": PLAIN, "direct": DIRECT}[kind]: rows for kind, rows in records.items()}
    monkeypatch.setattr(srv, "_cache", {})
    with NameServer(known) as server:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        yield server


def test_servers_are_ordered_by_priority_then_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = ["20 0 5222 last.example.", "10 90 5222 often.example.", "10 9 5223 seldom.example."]
    with naming(monkeypatch, plain=rows) as server:
        found = [srv.addresses(DOMAIN, False, 5) for _ in range(300)]
        assert server.asked == {PLAIN: 1}, "the answer is kept"
    assert all(one[2] == ("last.example", 5222) for one in found)
    first = Counter(one[0][0] for one in found)
    assert set(first) == {"often.example", "seldom.example"}
    assert first["often.example"] > 3 * first["seldom.example"]


def test_concurrent_users_share_one_query_even_if_the_first_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered, asked = Event(), []

    def ask(*key: object) -> srv.Records:
        asked.append(key)
        answered.wait(5)
        return [(1, 1, ("there.example", 5222))]

    monkeypatch.setattr(srv, "_cache", {})
    monkeypatch.setattr(srv, "_ask", ask)
    first, *others = [gevent.spawn(srv.addresses, DOMAIN, False, 5) for _ in range(20)]
    gevent.sleep(0)
    assert len(asked) == 1
    first.kill()
    gevent.sleep(0)
    answered.set()
    gevent.joinall(others, timeout=5, raise_error=True)
    assert [one.value for one in others] == [[("there.example", 5222)]] * 19
    assert len(asked) == 2


def test_direct_tls_has_its_own_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with naming(monkeypatch, direct=["1 1 443 tls.example."]) as server:
        assert srv.addresses(DOMAIN, True, 5) == [("tls.example", 443)]
        assert srv.addresses(DOMAIN, False, 5) == []
        assert server.asked == {PLAIN: 1, DIRECT: 1}


def test_users_connect_to_srv_targets_and_skip_a_server_that_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with DemoServer(domain=DOMAIN) as target:
        rows = [f"10 1 {refused_port()} 127.0.0.1.", f"20 1 {target.address[1]} 127.0.0.1."]
        with naming(monkeypatch, plain=rows):
            client = xmpp.Client(
                f"user_1@{DOMAIN}", "password_1", xmpp.Server(tls="none", timeout=10)
            )
            with client:
                client.ping()
        assert target.counts["logins"] == 1
    connected = metrics.recorder.take().operations["xmpp connect"]
    assert (connected.count, connected.errors) == (1, 0)


def test_without_records_the_domain_itself_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with DemoServer(domain="localhost") as target, naming(monkeypatch):
        there = xmpp.Server(port=target.address[1], tls="none", timeout=10)
        with xmpp.Client("user_1@localhost", "password_1", there) as client:
            client.ping()


def test_a_domain_without_xmpp_service_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with naming(monkeypatch, plain=["0 0 0 ."]):
        client = xmpp.Client(f"user_1@{DOMAIN}", "p", xmpp.Server(tls="none", timeout=5))
        with pytest.raises(xmpp.ConnectionFailed) as raised:
            client.connect()
    assert raised.value.kind == "name not found"
    assert f"{DOMAIN} has no service _xmpp-client._tcp (SRV)" in str(raised.value)


def test_a_silent_name_server_costs_only_a_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(srv, "_cache", {})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], silent.getsockname()[1]
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        assert srv.addresses(DOMAIN, False, 0.1) == []


@pytest.fixture
def _reset() -> Iterator[None]:
    yield
    settings.registry.reset()


@pytest.mark.usefixtures("_reset")
def test_source_addresses_are_used_in_turn() -> None:
    settings.registry.reset()
    accounts = xmpp.accounts.declare()
    with DemoServer() as target:
        given = {"port": str(target.address[1]), "tls": "none"}
        settings.registry.configure({**given, "source_address": "127.0.0.2, 127.0.0.3"}, {})
        clients = [accounts.client(number) for number in range(1, 7)]
        for one in clients:
            one.connect()
        ours = Counter(one._connection.transport._socket.getsockname()[0] for one in clients)
        for one in clients:
            one.close()
    assert ours == {"127.0.0.2": 3, "127.0.0.3": 3}


def test_a_foreign_source_address_is_a_named_error() -> None:
    with DemoServer() as target:
        there = xmpp.Server(*target.address, tls="none", source_address="192.0.2.1")
        with pytest.raises(xmpp.ConnectionFailed) as raised:
            xmpp.Client("user_1@localhost", "password_1", there).connect()
    assert raised.value.kind == "address not available"


@pytest.mark.parametrize("wrong", [{"tls": "ssl"}, {"timeout": 0}])
def test_invalid_server_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        xmpp.Server("127.0.0.1", **wrong)
