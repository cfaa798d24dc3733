"""xmpp.sleek in a worker: `amoc run` against real servers, counted on both sides."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Amoc
from tests.slix import client, visit
from tests.xmpp.sleek.helpers import Relay
from tests.xmpp_servers import XmppServer


@pytest.fixture
def amoc(tmp_path: Path) -> Iterator[Amoc]:
    """The command line, in a directory of its own."""
    with Amoc(tmp_path) as found:
        yield found


def archived(server: XmppServer, number: int, others: int) -> int:
    """Return how many messages with user `others` are in the archive of user `number`."""

    def archivist() -> Any:
        xmpp = client(server.jid(number), server.password(number))
        xmpp.register_plugin("xep_0313")
        return xmpp

    async def ask(xmpp: Any) -> int:
        nothing = {"max": "0"}
        answer = await xmpp.plugin["xep_0313"].retrieve(with_jid=server.jid(others), rsm=nothing)
        return int(answer["mam_fin"]["rsm"]["count"])

    return visit(archivist, server.port, ask)


def test_the_shipped_scenario_counts_the_same_as_the_server(
    amoc: Amoc, xmpp_server: XmppServer
) -> None:
    users, messages = xmpp_server.take(6), 3
    first, last = users[0], users[-1]
    summary = amoc.load(
        *("xmpp_sleek", first, last, "--repeat-num", 1, "--user-rate", "50/s"),
        *("--set", f"port={xmpp_server.tls_port}", "--set", "tls=direct"),
        *("--set", f"verify={xmpp_server.ca}"),
        *("--set", "pause=0s", "--set", f"messages={messages}"),
    )
    operations = summary["operations"]
    assert {name: operation["errors"] for name, operation in operations.items()} == dict.fromkeys(
        operations, 0
    )
    assert operations["xmpp login"]["count"] == last - first + 1
    assert operations["iq get jabber:iq:roster"]["count"] == last - first + 1
    pairs = (last - first + 1) // 2
    assert operations["answer"]["count"] == pairs * messages
    assert summary["counters"]["messages_said"] == pairs * messages
    assert summary["counters"]["messages_answered"] == pairs * messages
    kept = [archived(xmpp_server, user, user - 1) for user in users[1::2]]
    assert kept == [messages * 2 + 1] * pairs  # said, answered, and bye


TOGETHER = """
from gevent.event import AsyncResult
from amoc_gevent import metrics, settings
from amoc_gevent.xmpp import sleek

port = settings.declare("port", 0, "the server")
relay = settings.declare("relay", 0, "the relay that drops the roster request")
first = settings.declare("first", 0, "the user that waits; the next one answers, the third talks")
waiting, there = AsyncResult(), AsyncResult()


def log_in(user_id, port, heard):
    xmpp = sleek.ClientXMPP(f"user_{user_id}@localhost/run", f"password_{user_id}")
    xmpp.add_event_handler("session_start", lambda _: xmpp.send_presence())
    xmpp.add_event_handler("message", lambda message: heard(xmpp, message))
    assert xmpp.connect(("127.0.0.1", port), use_tls=False)
    xmpp.process()
    assert xmpp.session_started_event.wait(20)
    return xmpp


def start(user_id):
    (waits, answers, talks)[user_id - first.value](user_id)


def waits(user_id):
    xmpp = log_in(user_id, relay.value, lambda xmpp, message: xmpp.disconnect())
    try:
        waiting.set()
        xmpp.get_roster(timeout=60)
    except sleek.exceptions.IqTimeout:
        metrics.counter("waits_ended").add()


def answers(user_id):
    ended = AsyncResult()

    def heard(xmpp, message):
        message.reply("pong").send()
        ended.set()

    xmpp = log_in(user_id, port.value, heard)
    there.set()
    ended.get(timeout=20)
    xmpp.disconnect(wait=True)


def talks(user_id):
    pong = AsyncResult()
    xmpp = log_in(user_id, port.value, lambda xmpp, message: pong.set(message["body"]))
    waiting.get(timeout=20)
    there.get(timeout=20)
    xmpp.send_message(mto=f"user_{user_id - 1}@localhost/run", mbody="ping", mtype="chat")
    assert pong.get(timeout=20) == "pong"
    metrics.counter("chats_meanwhile").add()
    xmpp.send_message(mto=f"user_{user_id - 2}@localhost/run", mbody="enough", mtype="chat")
    xmpp.disconnect(wait=True)
"""


def test_a_user_waiting_for_a_silent_server_does_not_block_others(
    amoc: Amoc, xmpp_server: XmppServer
) -> None:
    path, users = amoc.scenario(TOGETHER), xmpp_server.take(3)
    with Relay(xmpp_server.port, kept=b"jabber:iq:roster") as relay:
        summary = amoc.load(
            *(path, users[0], users[-1], "--workers", 1, "--repeat-num", 1),
            *("--user-rate", "100/s", "--set", f"first={users[0]}"),
            *("--set", f"port={xmpp_server.port}", "--set", f"relay={relay.address[1]}"),
        )
    assert relay.held == 1
    assert summary["errors"] == []
    assert summary["counters"]["chats_meanwhile"] == summary["counters"]["waits_ended"] == 1
    assert summary["operations"]["iq get jabber:iq:roster"]["error_groups"] == {"disconnected": 1}
