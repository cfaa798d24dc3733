"""`amoc demo xmpp` as a process, tested with slixmpp."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Authority, Process, fetch
from tests.slix import LoginError, client, on_a_loop, online, visit

pytestmark = pytest.mark.processes

AMOC = [sys.executable, "-m", "amoc_gevent", "demo", "xmpp", "--port", "0"]


async def who(xmpp: Any) -> str:
    return str(xmpp.boundjid.bare)


def started(directory: Path, *options: str) -> tuple[Process, int, str]:
    """The process, its port and its URL for counts."""
    process = Process([*AMOC, *options], directory / "output")
    try:
        port = process.expect(r"^listening on 127\.0\.0\.1:(\d+)$").group(1)
        return process, int(port), process.expect(r"^counts on (http://\S+)/count$").group(1)
    except BaseException:
        process.stop()
        raise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_where_it_listens_and_exits_with_0_on_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    process, _, _ = started(tmp_path)
    with process:
        process.popen.send_signal(number)
        assert process.wait() == 0
        assert len(process.said().splitlines()) == 2


@pytest.mark.parametrize("sasl", ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("how", ["plain", "starttls", "direct"])
def test_slixmpp_logs_in_with_each_kind_of_tls_and_mechanism(
    tmp_path: Path, ca: Authority, how: str, sasl: str
) -> None:
    process, port, _ = started(tmp_path, "--tls", *map(str, ca.certificate("localhost")))
    with process:
        jid = "user_7@localhost"
        assert visit(lambda: client(jid, "password_7", how, ca.file, sasl), port, who) == jid
        with pytest.raises(LoginError):
            visit(lambda: client(jid, "password_8", how, ca.file, sasl), port, who)


def test_options_set_names_passwords_and_domain(tmp_path: Path) -> None:
    process, port, _ = started(
        tmp_path, "--domain", "example.com", "--user", "u{id}x", "--password", "p-{id}"
    )
    with process:
        jid = "u3x@example.com"
        assert visit(lambda: client(jid, "p-3"), port, who) == jid


def test_two_slixmpp_clients_talk_and_the_requested_fault_is_counted(
    tmp_path: Path,
) -> None:
    process, port, page = started(tmp_path, "--fault", "drop=3")

    async def talk() -> list[str]:
        heard: list[str] = []
        enough = asyncio.Event()

        def hear(message: Any) -> None:
            heard.append(message["body"])
            if len(heard) == 4:
                enough.set()

        async def listen(two: Any) -> None:
            two.add_event_handler("message", hear)
            two.send_presence()
            await online(client("user_1@localhost", "password_1"), port, say)
            await enough.wait()

        async def say(one: Any) -> None:
            for number in range(6):
                one.send_message("user_2@localhost", str(number), mtype="chat")

        await online(client("user_2@localhost", "password_2"), port, listen)
        return heard

    with process:
        assert on_a_loop(talk) == ["0", "1", "3", "4"]
        counts = json.loads(fetch(f"{page}/count"))
    assert (counts["messages"]["received"], counts["messages"]["dropped"]) == (6, 2)
    assert (counts["logins"], counts["connections"]) == (2, 2)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--fault", "dorp=3"], 1, "amoc: no fault 'dorp'; there are delay, drop, cut"),
        (
            ["--tls", __file__, __file__],
            2,
            "amoc: --tls: the files must hold a certificate chain and its key",
        ),
    ],
)
def test_wrong_usage_is_an_error_of_one_line(
    tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    with Process([*AMOC, *options], tmp_path / "output") as process:
        assert process.wait() == code
        assert said in process.said()
        assert len(process.said().splitlines()) == 1
