"""Prosody and ejabberd as the other tests rely on them, seen by slixmpp."""

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest
from slixmpp import ComponentXMPP

from tests.servers import Authority, MissingServerError
from tests.slix import LoginError, client, visit
from tests.xmpp_servers import ACCOUNTS, Ejabberd, Prosody, XmppServer

pytestmark = pytest.mark.processes


async def who(xmpp: Any) -> str:
    return str(xmpp.boundjid.bare)


async def features(xmpp: Any) -> set[str]:
    xmpp.register_plugin("xep_0030")
    found: set[str] = set()
    for jid in (xmpp.boundjid.domain, xmpp.boundjid.bare):
        info = await xmpp.plugin["xep_0030"].get_info(jid, timeout=10)
        found |= info["disco_info"]["features"]
    return found


@pytest.mark.parametrize("sasl", ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("how", ["plain", "starttls", "direct"])
def test_an_account_logs_in_by_each_way_and_mechanism(
    xmpp_server: XmppServer, ca: Authority, how: str, sasl: str
) -> None:
    jid, password = xmpp_server.jid(ACCOUNTS), xmpp_server.password(ACCOUNTS)
    port = xmpp_server.tls_port if how == "direct" else xmpp_server.port
    assert visit(lambda: client(jid, password, how, ca.file, sasl), port, who) == jid


def test_a_wrong_password_does_not_get_in(xmpp_server: XmppServer) -> None:
    with pytest.raises(LoginError, match="failed_all_auth"):
        visit(lambda: client(xmpp_server.jid(1), "password_2"), xmpp_server.port, who)


def test_a_certificate_is_verified(xmpp_server: XmppServer, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    jid, password = xmpp_server.jid(1), xmpp_server.password(1)
    with pytest.raises(LoginError):
        visit(lambda: client(jid, password, "direct", other.file), xmpp_server.tls_port, who)


def test_anybody_enters_the_anonymous_domain(xmpp_server: XmppServer) -> None:
    def stranger() -> Any:
        return client(xmpp_server.anonymous, "", sasl="ANONYMOUS")

    name, _, domain = visit(stranger, xmpp_server.port, who).partition("@")
    assert name
    assert domain == xmpp_server.anonymous


def test_the_server_has_what_the_scenarios_need(xmpp_server: XmppServer) -> None:
    def user() -> Any:
        return client(xmpp_server.jid(1), xmpp_server.password(1))

    found = visit(user, xmpp_server.port, features)
    assert found >= {
        "urn:xmpp:ping",
        "urn:xmpp:carbons:2",
        "jabber:iq:register",
        "urn:xmpp:mam:2",
        "http://jabber.org/protocol/pubsub#publish",
    }


@pytest.mark.parametrize(
    ("service", "feature"),
    [
        ("muc", "http://jabber.org/protocol/muc"),
        ("pubsub", "http://jabber.org/protocol/pubsub#create-nodes"),
    ],
)
def test_a_user_creates_on_the_services(
    xmpp_server: XmppServer, service: str, feature: str
) -> None:
    async def create(xmpp: Any) -> set[str]:
        jid = getattr(xmpp_server, service)
        if service == "pubsub":
            xmpp.register_plugin("xep_0060")
            await xmpp.plugin["xep_0060"].create_node(jid, f"node-{xmpp_server.name}", timeout=10)
        else:
            xmpp.register_plugin("xep_0045")
            room = f"room@{jid}"
            await xmpp.plugin["xep_0045"].join_muc_wait(room, "me", timeout=10)
            form = await xmpp.plugin["xep_0045"].get_room_config(room, timeout=10)
            await xmpp.plugin["xep_0045"].set_room_config(room, form, timeout=10)
        info = await xmpp.plugin["xep_0030"].get_info(jid, timeout=10)
        found: set[str] = info["disco_info"]["features"]
        return found

    def user() -> Any:
        return client(xmpp_server.jid(1), xmpp_server.password(1))

    assert feature in visit(user, xmpp_server.port, create)


def test_a_message_is_archived(xmpp_server: XmppServer) -> None:
    sender, receiver = xmpp_server.take(2)

    async def archive(xmpp: Any) -> list[str]:
        xmpp.register_plugin("xep_0313")
        to = xmpp_server.jid(receiver)
        xmpp.send_message(to, "keep this", mtype="chat")
        found = await xmpp.plugin["xep_0313"].retrieve(with_jid=to, timeout=10)
        return [
            result["mam_result"]["forwarded"]["stanza"]["body"]
            for result in found["mam"]["results"]
        ]

    def user() -> Any:
        return client(xmpp_server.jid(sender), xmpp_server.password(sender))

    assert visit(user, xmpp_server.port, archive) == ["keep this"]


def test_stream_management_is_offered_with_resumption(xmpp_server: XmppServer) -> None:
    async def managed(xmpp: Any) -> bool:
        manager = xmpp.plugin["xep_0198"]
        if not manager.sm_id:
            await xmpp.wait_until("sm_enabled", 10)
        return bool(manager.sm_id)

    def user() -> Any:
        xmpp = client(xmpp_server.jid(4), xmpp_server.password(4))
        xmpp.register_plugin("xep_0198")
        return xmpp

    assert visit(user, xmpp_server.port, managed)


def test_accounts_are_registered_and_removed_without_limit(xmpp_server: XmppServer) -> None:
    async def cancel(xmpp: Any) -> None:
        ends = (  # ejabberd closes the stream and sends no result
            xmpp.plugin["xep_0077"].cancel_registration(timeout=10),
            xmpp.wait_until("disconnected", 10),
        )
        await asyncio.wait(map(asyncio.ensure_future, ends), return_when=asyncio.FIRST_COMPLETED)

    for number in range(3):

        def newcomer(number: int = number) -> Any:
            xmpp = client(f"new_{number}@{xmpp_server.domain}", "secret")
            xmpp.register_plugin("xep_0077")
            xmpp.plugin["xep_0077"].force_registration = True

            async def register(_: Any) -> None:
                iq = xmpp.Iq()
                iq["type"] = "set"
                iq["register"]["username"] = xmpp.boundjid.user
                iq["register"]["password"] = "secret"
                await iq.send(timeout=10)

            xmpp.add_event_handler("register", register)
            return xmpp

        visit(newcomer, xmpp_server.port, cancel)
    with pytest.raises(LoginError, match="failed_all_auth"):
        visit(lambda: client(f"new_0@{xmpp_server.domain}", "secret"), xmpp_server.port, who)


def test_a_component_connects_and_is_reached(xmpp_server: XmppServer) -> None:
    def component() -> Any:
        port, secret = xmpp_server.component_port, xmpp_server.component_secret
        return ComponentXMPP(xmpp_server.component, secret, "127.0.0.1", port)

    assert visit(component, xmpp_server.component_port, who) == xmpp_server.component


@pytest.mark.parametrize("kind", [Prosody, Ejabberd])
def test_only_loopback_is_listened_on_and_nothing_stays_behind(
    kind: type[XmppServer], tmp_path: Path, ca: Authority
) -> None:
    with kind(tmp_path, ca, accounts=2) as server:
        first = psutil.Process(server.process.pid)
        family = [first, *first.children(recursive=True)]
        sockets = [each for process in family for each in process.net_connections()]
        listening = {tuple(each.laddr) for each in sockets if each.status == psutil.CONN_LISTEN}
        assert listening == {("127.0.0.1", port) for port in server.ports}
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


@pytest.mark.parametrize("kind", [Prosody, Ejabberd])
def test_a_server_that_is_not_installed_is_one_line(
    kind: type[XmppServer], tmp_path: Path, ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "executable", "no-such-server")
    with pytest.raises(MissingServerError, match=f"apt-get install {kind.package}"):
        kind(tmp_path, ca)
