"""SleekXMPP 1.3.3's own examples run unmodified against real servers."""

import re
import signal
from pathlib import Path

import gevent
import pytest

from tests.servers import wait_for
from tests.xmpp.sleek.conftest import LogIn
from tests.xmpp.sleek.helpers import Scripts
from tests.xmpp_servers import XmppServer

PRESENT = r"RECV: <presence .*"


def test_an_echo_bot_answers_what_the_send_script_says(scripts: Scripts) -> None:
    echo = scripts.start("echo_client.py", "-d", number=1)
    echo.expect(PRESENT)
    said = scripts.run("send_client.py", "-t", scripts.full(1), "-m", "hello", number=2)
    assert said.endswith("Done\n")
    echo.expect(r"SEND: <message .*<body>Thanks for sending\nhello</body>")
    echo.popen.send_signal(signal.SIGINT)
    assert echo.wait() == 0
    assert echo.said().endswith("Done\n")


def test_the_ping_script_measures_a_round_trip(scripts: Scripts) -> None:
    said = scripts.run("ping.py", "-t", scripts.server.domain, number=1)
    assert re.search(r"Success! RTT: \d", said), said


def test_the_roster_browser_shows_who_is_in_it(scripts: Scripts, log_in: LogIn) -> None:
    xmpp = log_in(30)
    xmpp.get_roster()
    xmpp.update_roster("friend@localhost", name="Robert", groups=["Friends"])
    xmpp.disconnect()
    said = scripts.run("roster_browser.py", number=30)
    assert "Roster for user_30@localhost" in said
    assert "\nFriends\n" in said
    assert " Robert (friend@localhost) [none]\n" in said


def test_the_disco_browser_lists_identities_features_and_items(scripts: Scripts) -> None:
    said = scripts.run("disco_browser.py", "all", scripts.server.domain, number=1)
    assert "('server', 'im', " in said
    assert "  - http://jabber.org/protocol/disco#info\n" in said
    assert f"  - ('{scripts.server.muc}', None, None)\n" in said


def test_an_account_is_registered_that_then_logs_in(scripts: Scripts) -> None:
    new = f"new_{scripts.server.name}@{scripts.server.domain}"
    said = scripts.run("register_account.py", "-j", new, "-p", "secret")
    assert f"Account created for {new}" in said
    assert said.endswith("Done\n")
    again = scripts.run("ping.py", "-j", new, "-p", "secret", "-t", scripts.server.domain)
    assert "Success!" in again


def test_bots_greet_each_other_in_a_room(scripts: Scripts, log_in: LogIn) -> None:
    room = f"greeting@{scripts.server.muc}"
    owner = log_in(3, "xep_0045")["xep_0045"]
    owner.joinMUC(room, "owner", wait=True)
    assert owner.configureRoom(room)
    first = scripts.start("muc.py", "-d", "-r", room, "-n", "first", number=1)
    first.expect(r"RECV: <presence .*status code=.110.")
    second = scripts.start("muc.py", "-d", "-r", room, "-n", "second", number=2)
    first.expect(r"SEND: <message .*<body>Hello, \w+ second</body>")
    second.expect(r"RECV: <message .*<body>Hello, \w+ second</body>")


def test_the_pubsub_client_goes_through_the_life_of_a_node(scripts: Scripts) -> None:
    def does(*arguments: str) -> str:
        return scripts.run("pubsub_client.py", scripts.server.pubsub, *arguments, number=1)

    node = f"node_{scripts.server.name}"
    assert does("create", node) == ""
    assert f"'{node}'" in does("nodes")
    assert does("subscribe", node) == f"Subscribed {scripts.server.jid(1)} to node {node}\n"
    published = re.search(r"Published at item id: (\S+)", does("publish", node, "payload"))
    assert published
    assert ">payload</test>" in does("get", node, published[1])
    assert does("retract", node, published[1]).startswith("Retracted item")
    assert does("delete", node) == f"Deleted node: {node}\n"
    assert "Could not delete node" in does("delete", node)


def test_a_component_echoes(scripts: Scripts) -> None:
    server = scripts.server
    echo = scripts.launch(
        *(Path(__file__).parent / "scripts/echo_component.py", "-d", "-j", server.component),
        *("-p", server.component_secret, "-s", "127.0.0.1", "-P", server.component_port),
    )
    echo.expect("Event triggered: session_start")
    scripts.run("send_client.py", "-t", f"any@{server.component}", "-m", "hello", number=2)
    echo.expect(rf"SEND: <message .*from=.any@{server.component}.*Thanks for sending\nhello<")


def test_a_command_is_offered_and_gone_through(scripts: Scripts) -> None:
    provider = scripts.start("adhoc_provider.py", "-d", number=1)
    provider.expect(PRESENT)
    user = scripts.start("adhoc_user.py", "-o", scripts.full(1), "-g", "Good day", number=2)
    user.expect("Good day, World!")


def test_stanzas_of_the_scripts_own_go_there_and_back(scripts: Scripts) -> None:
    provider = scripts.start("custom_stanza_provider.py", "-d", number=1)
    provider.expect(PRESENT)
    scripts.run("custom_stanza_user.py", "-o", scripts.full(1), number=2)
    assert provider.wait() == 0
    assert provider.said().count("got message: ") == 2


def test_a_file_is_sent_in_band(scripts: Scripts, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x" * 5000 + "the end")
    receiver = scripts.start("ibb_receiver.py", "-d", number=1)
    receiver.expect(PRESENT)
    scripts.start("ibb_sender.py", "-r", scripts.full(1), "-f", tmp_path / "file", number=2)
    receiver.expect("Stream opened: .* from " + scripts.full(2))
    receiver.expect("^b'x+the end'")


READS = """
import sleekxmpp

bot = sleekxmpp.ClientXMPP("user_4@localhost/script", "password_4")
bot.add_event_handler("session_start", lambda event: print("started"))
bot.add_event_handler("disconnected", lambda event: print("disconnected"))
bot.connect()
bot.process(block=False)
print("read:", input())
bot.disconnect()
"""


def test_a_stream_goes_on_while_its_script_reads_its_input(
    scripts: Scripts, tmp_path: Path
) -> None:
    (tmp_path / "reads.py").write_text(READS)
    pipe = scripts.talk(tmp_path / "reads.py")
    with gevent.Timeout(20):
        assert pipe.stdout.readline() == b"started\n"
        said, _ = pipe.communicate(b"a line\n")
    assert said == b"read: a line\ndisconnected\n"
    assert pipe.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "usage: "),
        (("--server", "localhost", "x.py"), "usage: "),
        (("--help",), "usage: "),
        (("missing.py",), "there is no script missing.py"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(
    prosody: XmppServer, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    scripts = Scripts(prosody, tmp_path)
    process = scripts.launch(*arguments)
    assert process.wait() == 2
    assert process.said().startswith(message)
    assert process.said().count("\n") == 1


def test_a_connection_that_is_closing_can_be_aborted(log_in: LogIn) -> None:
    bot = log_in(1)
    ended: list[object] = []
    bot.add_event_handler("disconnected", ended.append)
    bot.transport.close()
    bot.abort()
    wait_for(lambda: ended, what="the end of the connection")
