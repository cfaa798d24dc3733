"""`amoc try`: one iteration of one user, each operation shown as it happens."""

import re
import signal
from pathlib import Path

import pytest

from tests.demo_xmpp import DemoXmpp
from tests.integration.conftest import Amoc
from tests.servers import Demo

SCENARIO = """
from amoc_gevent import http, metrics, settings

url = settings.declare("url", "http://127.0.0.1:1", "the service")
seen = metrics.counter("seen")


def init():
    return "the state"


def start(user_id, state):
    session = http.Session(url.value)
    session.get("/json")
    session.get("/status/503", name="flaky")
    with metrics.operation("think hard"):
        seen.add(user_id)
    with session.get("/", check=True) as answer:
        answer.fail("no token")
    if user_id == 7:
        raise ValueError(state)
"""


def test_each_operation_is_shown_with_status_timings_headers_and_error(
    amoc: Amoc, demo: Demo
) -> None:
    code, said = amoc.run("try", amoc.scenario(SCENARIO), 5, "--set", f"url={demo.url}")

    assert code == 1  # two operations failed
    for text in (
        f"GET {demo.url}/json → 200",
        "connect ",
        "first byte ",
        "total ",
        "content-type: application/json",
        "503",
        "error: status 503",
        "flaky: ",
        "think hard: ",
        "error: no token",
        "counter seen = 5",
        "4 operations, 2 with errors",
    ):
        assert text.lower() in said.lower(), said
    assert demo.counts()["total"] == 3


BODIES = """
from amoc_gevent import http, settings

url = settings.declare("url", "", "the service")


def start(user_id):
    with http.Session(url.value) as session:
        session.get("/echo?fine", name="fine")
        session.post("/login", data={"user": "x"}, name="wrong")
"""


@pytest.mark.parametrize(("options", "shown"), [([], False), (["--bodies"], True)])
def test_the_bodies_of_errors_are_shown_and_others_on_request(
    amoc: Amoc, demo: Demo, options: list[str], shown: bool
) -> None:
    code, said = amoc.run("try", amoc.scenario(BODIES), *options, "--set", f"url={demo.url}")

    assert code == 1
    assert "400 Bad Request" in said
    assert "  | " in said.partition("wrong: ")[2], said
    assert ("  | " in said.partition("wrong: ")[0]) is shown


def test_an_exception_of_start_is_shown_with_its_place(amoc: Amoc, demo: Demo) -> None:
    path = amoc.scenario(SCENARIO)

    code, said = amoc.run("try", path, 7, "--no-headers", "--set", f"url={demo.url}")

    assert code == 1
    assert "start raised ValueError at" in said
    assert "the state" in said
    assert "content-type" not in said.lower()


def test_a_target_that_is_down_is_named(amoc: Amoc) -> None:
    code, said = amoc.run("try", amoc.scenario(SCENARIO))

    assert code == 1
    assert "error: connection refused" in said


def test_ctrl_c_is_one_line(amoc: Amoc) -> None:
    source = (
        "import gevent\n\n\ndef start(i):\n    print('begun', flush=True)\n    gevent.sleep(60)\n"
    )
    process = amoc.start("try", amoc.scenario(source))
    process.expect("begun")
    process.popen.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert process.said() == "begun\namoc: interrupted\n"


def test_a_user_that_does_not_yield_is_named_and_ended(amoc: Amoc) -> None:
    source = "def init():\n    pass\n\n\ndef start(i):\n    while True:\n        i += 1\n"
    code, said = amoc.run("try", amoc.scenario(source), 7)
    assert code == 1
    assert re.search(r"user 7 did not yield for more than \d+ ms at .+\.py:[67] in start\n", said)
    assert "start raised UserBlocked at " in said


def test_a_session_that_listens_is_asked_to_end_by_ctrl_c_and_its_xml_is_shown(
    amoc: Amoc, tmp_path: Path
) -> None:
    with DemoXmpp(tmp_path) as server:
        options = ("--set", f"port={server.port}", "--set", "tls=none", "--set", "linger=0s")
        process = amoc.start("try", "xmpp_chat", 7, *options)
        process.expect(r"^  > <presence></presence>|^  > <presence to='user_8@localhost'>")
        process.popen.send_signal(signal.SIGINT)
        assert process.wait() == 0, process.said()
        said = process.said()
        assert "asked the user to end; a second Ctrl-C ends it at once" in said
        assert "<stream:features>" in said
        assert "xmpp auth: " in said
        assert said.splitlines()[-1] == "user 7: 5 operations, 0 with errors"
        assert "  > </stream:stream>" in said
        assert server.counts()["logins"] == 1
