"""SASL: each mechanism on each server, choice of the strongest, proof from the server."""

import re
import ssl
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from amoc_gevent import settings, xmpp
from amoc_gevent.demo.xmpp.sasl import SaslExchange
from amoc_gevent.errors import UsageError
from amoc_gevent.transport import context
from amoc_gevent.xmpp import registration
from amoc_gevent.xmpp.stream.login import ALPN
from amoc_gevent.xmpp.stream.sasl import Channel, Credentials, SaslClientExchange
from tests.certificates import user_certificate
from tests.servers import Authority
from tests.xmpp.clients import fresh, where
from tests.xmpp_servers import XmppServer

SECURE = ["starttls", "direct"]


@pytest.fixture
def taken() -> Iterator[list[str]]:
    """Yield the mechanisms that clients used."""
    names: list[str] = []

    def look(direction: str, data: bytes) -> None:
        if direction == ">":
            names.extend(re.findall(r"<auth [^>]*mechanism='([^']*)'", data.decode()))

    xmpp.observe(look)
    yield names
    xmpp.observe(None)


@pytest.fixture
def tls_1_2(xmpp_server: XmppServer) -> Iterator[None]:
    """Use TLS 1.2, which has channel binding (tls-unique). Python's TLS 1.3 has none."""
    contexts = [context(str(xmpp_server.ca), None, protocols) for protocols in ((), (ALPN,))]
    for one in contexts:
        one.maximum_version = ssl.TLSVersion.TLSv1_2
    yield
    for one in contexts:
        one.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED


def gets_in(server: XmppServer, tls: str = "none", sasl: str | None = None) -> None:
    """Log in and ping the server."""
    there = where(server, tls)
    with xmpp.Client(server.jid(1), server.password(1), there, sasl=sasl) as client:
        client.ping()
        assert client.bare == server.jid(1)


@pytest.mark.parametrize("tls", ["none", *SECURE])
def test_the_strongest_offered_mechanism_is_used(
    xmpp_server: XmppServer, taken: list[str], tls: str
) -> None:
    gets_in(xmpp_server, tls)
    strongest = {"prosody": "SCRAM-SHA-256", "ejabberd": "SCRAM-SHA-512"}
    assert taken == [strongest[xmpp_server.name]]


@pytest.mark.usefixtures("tls_1_2")
@pytest.mark.parametrize("tls", SECURE)
def test_channel_binding_is_used_if_available(
    xmpp_server: XmppServer, taken: list[str], tls: str
) -> None:
    gets_in(xmpp_server, tls)
    gets_in(xmpp_server, tls, "SCRAM-SHA-1-PLUS")
    strongest = {"prosody": "SCRAM-SHA-256-PLUS", "ejabberd": "SCRAM-SHA-512-PLUS"}
    assert taken == [strongest[xmpp_server.name], "SCRAM-SHA-1-PLUS"]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN", "DIGEST-MD5"])
@pytest.mark.parametrize("tls", ["none", "direct"])
def test_the_requested_mechanism_is_used(
    xmpp_server: XmppServer, taken: list[str], mechanism: str, tls: str
) -> None:
    if (mechanism, xmpp_server.name) == ("DIGEST-MD5", "prosody"):  # it no longer has it
        with pytest.raises(xmpp.AuthenticationError, match="no-mechanism"):
            gets_in(xmpp_server, tls, mechanism)
    else:
        gets_in(xmpp_server, tls, mechanism)
        assert taken == [mechanism]


@pytest.mark.parametrize("tls", ["none", *SECURE])
def test_anonymous_users_log_in_to_an_anonymous_domain(
    xmpp_server: XmppServer, taken: list[str], tls: str
) -> None:
    there = where(xmpp_server, tls)
    with (
        xmpp.Client(xmpp_server.anonymous, server=there) as one,
        xmpp.Client(xmpp_server.anonymous, server=there) as two,
    ):
        assert one.bare != two.bare
        assert one.bare.endswith(f"@{xmpp_server.anonymous}")
        one.send_message(two.jid, "who are you?")
        assert two.wait_for("message", 5).sender == one.jid
    assert taken == ["ANONYMOUS"] * 2


def by_certificate(server: XmppServer, file: Path) -> xmpp.Server:
    """Return how to connect with a client certificate."""
    return replace(where(server, "direct", cert=str(file)), port=server.certificate_port)


def test_a_certificate_logs_in_without_a_password(
    ejabberd: XmppServer, ca: Authority, taken: list[str], tmp_path: Path
) -> None:
    file = user_certificate(ca, ejabberd.jid(7), tmp_path / "user.pem")
    there = by_certificate(ejabberd, file)
    with xmpp.Client(ejabberd.jid(7), server=there) as client:
        client.ping()
        assert client.bare == ejabberd.jid(7)
    other = xmpp.Client(ejabberd.jid(8), server=there, sasl="EXTERNAL")
    with other:  # the certificate names the user, not the client
        assert other.bare == ejabberd.jid(7)
    assert taken == ["EXTERNAL"] * 2


@pytest.fixture
def _declared() -> Iterator[None]:
    settings.registry.reset()
    yield
    settings.registry.reset()


@pytest.mark.usefixtures("_declared")
def test_the_settings_name_a_certificate_for_each_user(
    ejabberd: XmppServer, ca: Authority, tmp_path: Path
) -> None:
    accounts = xmpp.accounts.declare()
    for number in (5, 6):
        user_certificate(ca, ejabberd.jid(number), tmp_path / f"user_{number}.pem")
    where_ = {"port": str(ejabberd.certificate_port), "tls": "direct", "verify": str(ejabberd.ca)}
    files = {"cert": f"{tmp_path}/user_{{id}}.pem", "password": "none"}
    settings.registry.configure({**where_, **files}, {})
    for number in (5, 6):
        with accounts.client(number) as client:
            assert client.bare == ejabberd.jid(number)


def test_a_certificate_of_an_unknown_authority_is_refused(
    ejabberd: XmppServer, tmp_path: Path
) -> None:
    file = user_certificate(Authority(tmp_path), ejabberd.jid(7), tmp_path / "user.pem")
    there = by_certificate(ejabberd, file)
    with pytest.raises(xmpp.AuthenticationError, match="not-authorized"):
        xmpp.Client(ejabberd.jid(7), server=there).connect()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"])
def test_names_and_passwords_with_any_characters_log_in(
    xmpp_server: XmppServer, mechanism: str
) -> None:
    jid = f"{fresh('jürgen')}@{xmpp_server.domain}"
    password = 'pÄß, 密碼 = <&">'
    registration.register(jid, password, where(xmpp_server))
    with xmpp.Client(jid, password, where(xmpp_server), sasl=mechanism) as client:
        client.ping()
        assert client.bare == jid
        registration.unregister(client)


def test_an_unknown_mechanism_is_refused_with_a_list_of_known_ones() -> None:
    credentials = Credentials("user", "password", "localhost")
    with pytest.raises(UsageError, match=r"sasl='SCRAM' is not known: .*SCRAM-SHA-256"):
        SaslClientExchange({"PLAIN"}, credentials, Channel(), "SCRAM")
    with pytest.raises(xmpp.AuthenticationError, match="none fits among ANONYMOUS, EXTERNAL"):
        SaslClientExchange({"ANONYMOUS", "EXTERNAL"}, credentials, Channel(), None)


@pytest.mark.parametrize("lie", ["v=", "e="])
def test_a_server_that_cannot_prove_the_password_is_refused(lie: str) -> None:
    def element(text: str) -> Element:
        made = Element("x")
        made.text = text
        return made

    credentials = Credentials("user", "password", "localhost")
    exchange = SaslClientExchange({"SCRAM-SHA-256"}, credentials, Channel(), None)
    there = SaslExchange("SCRAM-SHA-256", lambda _: "password")
    there.step(exchange.answer(element(there.step(exchange.first()))))
    claim = {"v=": b64encode(b"x" * 32).decode(), "e=": "other-error"}[lie]
    with pytest.raises(xmpp.AuthenticationError) as raised:
        exchange.finish(element(b64encode(f"{lie}{claim}".encode()).decode()))
    assert raised.value.condition in {"mutual-authentication-failed", "incorrect-challenge"}
