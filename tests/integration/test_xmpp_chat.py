"""`amoc run xmpp_chat`: message tracking agrees with the counts of the server, and balances."""

from pathlib import Path
from typing import Any

import gevent
import pytest

from tests.demo_xmpp import DemoXmpp
from tests.integration.conftest import Amoc
from tests.xmpp_servers import XmppServer

FAULTS = ("--fault", "drop=100", "--fault", "duplicate=200", "--fault", "reorder=50")


def sums(messages: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return sent, delivered, lost and on the way, after checking that they balance."""
    sent, *rest = (messages[name] for name in ("sent", "delivered", "lost", "on_the_way"))
    assert sent == sum(rest)
    return (sent, *rest)


def test_message_tracking_finds_each_fault_of_the_server(amoc: Amoc, tmp_path: Path) -> None:
    with DemoXmpp(tmp_path, *FAULTS) as server:
        options = ("--set", f"port={server.port}", "--set", "tls=none", "--set", "interval=20ms")
        summary = amoc.load(
            "xmpp_chat", 1, 60, "--user-rate", "200/s", "--duration", "5s", *options
        )
        counts, pairs = server.counts(), server.pairs()

    found, did = summary["messages"], counts["messages"]
    assert sums(found) == (did["received"], did["received"] - did["dropped"], did["dropped"], 0)
    assert (found["duplicated"], found["reordered"]) == (did["duplicated"], did["reordered"])
    assert min(found["lost"], found["duplicated"], found["reordered"]) > 10
    assert found["strays"] == found["bounced"] == 0
    assert found["pairs"] == len(pairs)

    uneven = {(one.pop("from"), one.pop("to")): one for one in found["uneven"]}
    for pair, at_server in pairs.items():
        faults = tuple(at_server[name] for name in ("dropped", "duplicated", "reordered"))
        here = uneven.pop(pair, {"lost": 0, "duplicated": 0, "reordered": 0})
        assert tuple(here[name] for name in ("lost", "duplicated", "reordered")) == faults, pair
        assert here.get("sent", at_server["received"]) == at_server["received"]
    assert not uneven

    assert summary["operations"]["xmpp message delivery"]["count"] == found["delivered"]
    assert summary["operations"]["xmpp auth"]["count"] == counts["logins"] == 60
    assert summary["counters"]["messages sent"] == found["sent"]
    assert counts["online"] == 0
    assert summary["errors"] == []


def test_untracked_messages_all_reach_the_server(amoc: Amoc, tmp_path: Path) -> None:
    with DemoXmpp(tmp_path) as server:
        options = ("--set", f"port={server.port}", "--set", "tls=none", "--set", "tracked=no")
        summary = amoc.load(
            "xmpp_chat", 1, 20, "--user-rate", "200/s", "--duration", "2s", *options,
            "--set", "interval=50ms", "--set", "linger=500ms",
        )  # fmt: skip
        did = server.counts()
    assert summary["messages"] is None
    counters = summary["counters"]
    assert counters["xmpp stanzas sent"] == (
        did["messages"]["received"] + did["presences"] + did["iqs"]
    )
    assert did["messages"]["received"] > 200


@pytest.mark.long
@pytest.mark.timeout(240)
def test_500_users_over_tls_lose_nothing_on_prosody_and_ejabberd(
    tmp_path: Path, prosody: XmppServer, ejabberd: XmppServer
) -> None:
    def load(server: XmppServer) -> dict[str, Any]:
        place = tmp_path / server.name
        place.mkdir()
        users = server.take(500)
        with Amoc(place) as amoc:
            return amoc.load(
                "xmpp_chat", users[0], users[-1], "--user-rate", "25/s", "--duration", "60s",
                "--workers", 1, "--set", "interval=4s",
                "--set", f"port={server.port}", "--set", f"verify={server.ca}",
                "--set", "sasl=SCRAM-SHA-1", "--stop-timeout", "60s", "--set", "linger=10s",
                patience=180,
            )  # fmt: skip

    runs = [gevent.spawn(load, server) for server in (prosody, ejabberd)]
    for job in gevent.joinall(runs, raise_error=True):
        summary = job.get()
        found = summary["messages"]
        assert sums(found)[2:] == (0, 0), found
        assert found["pairs_uneven"] == found["bounced"] == found["strays"] == 0
        assert found["sent"] > 500 * 5  # how many it can be in the time is no matter of this test
        operations = summary["operations"]
        assert operations["xmpp message delivery"]["count"] == found["sent"]
        for step in ("xmpp connect", "xmpp tls", "xmpp auth", "xmpp bind"):
            assert (operations[step]["count"], operations[step]["errors"]) == (500, 0), step
        assert summary["errors"] == []
