"""XMPP servers that misbehave, seen by a run: one named error of each user concerned, no other."""

from pathlib import Path

import pytest

from tests.demo_xmpp import DemoXmpp
from tests.integration.conftest import Amoc

SCENARIO = """
from amoc_gevent import settings, xmpp

ports = [settings.declare(name, 0, "port for every second user") for name in ("sick", "healthy")]


def start(user_id):
    server = xmpp.Server("127.0.0.1", ports[user_id % 2].value, tls="none", timeout=1)
    with xmpp.Client(f"user_{user_id}@localhost", f"password_{user_id}", server) as client:
        client.send_message(client.jid, "to myself")
        client.wait_for("message")
"""

FAULTS = {
    "--fault cut_at=stream": ("xmpp stream", "connection reset", "Disconnected"),
    "--fault silent_at=auth": ("xmpp auth", "time-out", "XmppTimeout"),
    "--fault malformed_at=bind": ("xmpp bind", "stream error: not-well-formed", "StreamError"),
    "--password other_{id}": (
        ("xmpp auth", "authentication: not-authorized", "AuthenticationError")
    ),
    "--domain elsewhere": ("xmpp stream", "stream error: host-unknown", "StreamError"),
    "--fault cut=1": (None, "connection reset", "Disconnected"),
    "--fault malformed=1": (None, "not-well-formed", "StreamError"),
    "--fault drop=1": (None, "time-out", "XmppTimeout"),
}
"""What the server is told, and the operation, the kind and the type of the error that it makes."""


@pytest.mark.parametrize("fault", FAULTS)
def test_each_user_of_a_sick_server_has_one_error_of_its_name(
    amoc: Amoc, tmp_path: Path, fault: str
) -> None:
    operation, kind, error = FAULTS[fault]
    places = tmp_path / "sick", tmp_path / "healthy"
    for place in places:
        place.mkdir()
    with DemoXmpp(places[0], *fault.split()) as sick, DemoXmpp(places[1]) as healthy:
        summary = amoc.load(
            *(amoc.scenario(SCENARIO), 1, 10, "--user-rate", "200/s", "--repeat-num", 2),
            *("--repeat-interval", "50ms", "--workers", 1),
            *("--set", f"sick={sick.port}", "--set", f"healthy={healthy.port}"),
        )
        counts = sick.counts(), healthy.counts()

    assert [(one["type"], one["count"]) for one in summary["errors"]] == [(error, 10)]
    if operation is None:
        assert kind in summary["errors"][0]["message"]
    assert summary["users"]["failed"] == 10
    failed = {n: o["error_groups"] for n, o in summary["operations"].items() if o["errors"]}
    assert failed == ({} if operation is None else {operation: {kind: 10}})
    assert [one["connections"] for one in counts] == [10, 10]
    assert summary["operations"]["xmpp connect"]["count"] == 20
    assert [one["online"] for one in counts] == [0, 0]
    assert counts[1]["messages"]["delivered"] == 10
    assert summary["run"]["status"] == "finished"


def test_a_server_that_is_not_there_is_an_error_of_each_user(amoc: Amoc) -> None:
    code, said = amoc.run(
        *("run", amoc.scenario(SCENARIO), 1, 10, "--user-rate", "200/s", "--repeat-num", 1),
        *("--set", "sick=1", "--set", "healthy=1", "--summary", amoc.summary_path),
    )
    assert code == 1
    assert said.endswith("amoc: none of 10 operations succeeded\n")
    summary = amoc.summary()
    assert summary["operations"]["xmpp connect"]["error_groups"] == {"connection refused": 10}
    assert [(e["type"], e["count"]) for e in summary["errors"]] == [("ConnectionFailed", 10)]
