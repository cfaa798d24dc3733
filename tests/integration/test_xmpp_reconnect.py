"""`amoc run xmpp_reconnect` on Prosody and ejabberd: connections are cut, and nothing is lost."""

from tests.integration.conftest import Amoc
from tests.xmpp_servers import XmppServer


def test_users_that_lose_their_connection_lose_no_message(
    amoc: Amoc, xmpp_server: XmppServer
) -> None:
    users = xmpp_server.take(40)
    summary = amoc.load(
        "xmpp_reconnect", users[0], users[-1], "--user-rate", "80/s", "--duration", "10s",
        "--workers", 2, "--stop-timeout", "15s",
        *("--set", f"port={xmpp_server.port}", "--set", f"verify={xmpp_server.ca}"),
        *("--set", "interval=100ms", "--set", "every=1500ms", "--set", "away=100ms"),
        *("--set", "sasl=SCRAM-SHA-1"),
    )  # fmt: skip
    found, operations = summary["messages"], summary["operations"]
    assert found["lost"] == found["on_the_way"] == found["bounced"] == 0, found
    assert found["sent"] == found["delivered"] > 800
    assert summary["errors"] == []
    cut = summary["counters"]["connections dropped"]
    assert operations["xmpp reconnect"]["count"] == operations["xmpp resume"]["count"] == cut > 20
    assert operations["xmpp resume"]["errors"] == 0
    assert operations["xmpp bind"]["count"] == 40
    delivered = operations["xmpp message delivery"]["count"]
    assert delivered == found["delivered"] - found["delayed"]
