"""Another user of this machine, a real process of uid 65534, gets nothing from root's daemons."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from amoc_gevent.bus.directory import PREFIX, remove_abandoned
from amoc_gevent.control.client import Control
from amoc_gevent.errors import AmocError
from tests import rights
from tests.integration.conftest import Amoc
from tests.integration.homes import TCP, Daemons, daemons_of
from tests.integration.intruder import NOBODY
from tests.servers import Process, wait_for

PASSWORD = "open-sesame"
SCENARIO = """
from amoc_gevent import settings, user

password = settings.declare("password", "none", "what opens doors")


def start(user_id):
    user.sleep(0.05)
"""
EVIL = """
import os
from pathlib import Path


def init():
    Path({mark!r}).write_text(str(os.geteuid()))


def start(user_id):
    pass
"""


@pytest.fixture(autouse=True)
def _two_users() -> None:
    rights.OTHER_USER.need()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can enter."""
    with tempfile.TemporaryDirectory(prefix="amoc-test-", dir="/tmp") as made:
        found = Path(made)
        found.chmod(0o755)
        yield found


@pytest.fixture
def daemons(place: Path) -> Iterator[Daemons]:
    """A home that every user can look into: only its sockets' directory keeps them out."""
    with Amoc(place) as amoc:
        for found in daemons_of(amoc):
            found.home.path.mkdir(mode=0o755)
            yield found


class Intrude(Protocol):
    """Starts an intruder."""

    def __call__(self, how: str, *arguments: object) -> Process: ...


@pytest.fixture
def intrude(place: Path) -> Iterator[Intrude]:
    own = place / "intruder"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    started: list[Process] = []

    def start(how: str, *arguments: object) -> Process:
        words = ["-m", "tests.integration.intruder", how, *map(str, arguments)]
        env = {"TMPDIR": str(own), "XDG_RUNTIME_DIR": str(own)}
        process = Process([sys.executable, *words], place / f"intruder-{len(started)}", env=env)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


def addresses(daemons: Daemons) -> list[str]:
    """Return where the master has its plan and takes reports, in the way that is most open."""
    here = [f"ipc://{daemons.home.path}/sockets/{name}" for name in ("plans", "reports")]
    return daemons.describe()["endpoints"] or here


def run_with_a_password(daemons: Daemons) -> None:
    """Do a run to its end, whose plan has a password."""
    path = daemons.amoc.scenario(SCENARIO)
    load = ("--repeat-num", 1, "--user-rate", "500/s", "--set", f"password={PASSWORD}")
    daemons.good("do", path, 1, 5, "--nodes", "one", *load)
    wait_for(lambda: daemons.json("status")["status"] == "finished", 20, "the end of the run")


def names(daemons: Daemons) -> list[str]:
    return [node["name"] for node in daemons.json("nodes")["nodes"]]


def test_nobody_else_listens_to_a_master_without_options(
    daemons: Daemons, intrude: Intrude
) -> None:
    daemons.master()
    daemons.node()
    spy = intrude("listen", *addresses(daemons))
    spy.expect("listening|kept out")

    run_with_a_password(daemons)

    assert spy.said() == "kept out: [Errno 13] Permission denied\n"
    assert names(daemons) == ["one"]
    for kind in ("master", "node"):
        assert psutil.Process(daemons.pid(kind)).net_connections("inet") == []


def test_nobody_else_listens_to_a_master_with_keys(daemons: Daemons, intrude: Intrude) -> None:
    daemons.good("keys", "make")
    daemons.master(*TCP)
    daemons.node()
    spy = intrude("listen", *addresses(daemons))
    spy.expect("listening")

    run_with_a_password(daemons)

    assert "joined: True" not in spy.said()
    assert PASSWORD not in spy.said()
    assert names(daemons) == ["one"]


def test_with_insecure_on_both_ends_anybody_listens(daemons: Daemons, intrude: Intrude) -> None:
    """As is said when it is started; and those who are kept out above would know how to."""
    said = daemons.master(*TCP, "--insecure")
    assert said.startswith("amoc: --insecure: whoever reaches 127.0.0.1 can join, and read ")
    daemons.node()
    spy = intrude("listen", *addresses(daemons))
    spy.expect("joined: True")
    run_with_a_password(daemons)
    spy.expect(PASSWORD)


def test_nobody_else_takes_the_place_of_a_master_that_is_away(
    daemons: Daemons, intrude: Intrude, place: Path
) -> None:
    daemons.master()
    daemons.node()
    where = addresses(daemons)
    mark = place / "mark"
    evil = daemons.amoc.scenario(EVIL.format(mark=str(mark)), "evil")
    daemons.kill(signal.SIGKILL)
    wait_for(lambda: daemons.pid() is None, what="the end of the master")

    poser = intrude("pose", *where, evil)
    poser.expect("obeyed|kept out")

    assert "permission denied" in poser.said()
    assert not mark.exists()
    daemons.master()
    wait_for(lambda: names(daemons) == ["one"], 20, "the node to join its own master again")
    run_with_a_password(daemons)


def test_a_node_that_is_insecure_obeys_whoever_takes_its_masters_place(
    daemons: Daemons, intrude: Intrude, place: Path
) -> None:
    """As is said when it is started."""
    daemons.master(*TCP, "--insecure")
    said = daemons.node(*daemons.where(), "--insecure")
    assert said.startswith("amoc: --insecure: whoever answers at 127.0.0.1 can run code as this ")
    where = addresses(daemons)
    mark = place / "mark"
    evil = daemons.amoc.scenario(EVIL.format(mark=str(mark)), "evil")
    daemons.kill(signal.SIGKILL)
    wait_for(lambda: daemons.pid() is None, what="the end of the master")

    intrude("pose", *where, evil).expect("obeyed")
    wait_for(mark.exists, 20, "the intruder's code to run")
    assert mark.read_text() == "0"


def test_a_home_in_the_hand_of_another_user_is_not_used(daemons: Daemons) -> None:
    home = daemons.home.path
    os.chown(home, NOBODY, NOBODY)
    theirs = (
        f"amoc: AMOC_HOME {home} belongs to user nobody, not to user root: run this as its owner"
    )
    for line in ("master", "node", "status", "do http_hello 1 2 --set a=b", "keys", "shutdown"):
        code, said = daemons.amoc.run(*line.split())
        assert (code, said.startswith(theirs), len(said.splitlines())) == (1, True, 1), said
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("kind", ["sockets of another user", "link of another user"])
def test_a_directory_of_sockets_that_is_not_ours_is_not_used(
    daemons: Daemons, place: Path, kind: str
) -> None:
    theirs, sockets = place / "theirs", daemons.home.sockets
    theirs.mkdir(mode=0o700)
    if kind == "link of another user":
        sockets.symlink_to(theirs)
    else:
        sockets.mkdir(mode=0o700)
    os.chown(sockets, NOBODY, NOBODY, follow_symlinks=False)
    for line in ("master", "node"):
        code, said = daemons.amoc.run(line)
        assert code == 1
        assert str(sockets) in said.splitlines()[0], said
        assert "Traceback" not in said


def test_what_another_user_left_is_not_removed(tmp_path: Path) -> None:
    """Root could: of what seems to be abandoned sockets where all may write."""
    for name in ("theirs", "ours"):
        (tmp_path / f"{PREFIX}{name}").mkdir()
    os.chown(tmp_path / f"{PREFIX}theirs", NOBODY, NOBODY)
    remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{PREFIX}theirs"]


def test_who_answers_at_a_control_socket_as_another_user_is_asked_nothing(
    intrude: Intrude, place: Path
) -> None:
    socket = place / "intruder/master.sock"
    process = intrude("answer", socket)
    process.expect("answering")
    with pytest.raises(
        AmocError, match=r"nobody answers at .*, not user root: no request was sent"
    ):
        Control(socket).ask({"command": "do", "settings": {"password": PASSWORD}})
    assert PASSWORD not in process.said()
