"""A real master's control socket gets everything: it answers or closes, and goes on."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.conftest import Amoc
from tests.integration.homes import Daemons, daemons_of

VERBS = "do add remove set pause resume rebalance stop status nodes runs summary watch daemon"
FIELDS = "scenario first last settings options nodes strategy count force name value run form"
MORE_FIELDS = "width height colour duration comment"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
fields = st.dictionaries(st.sampled_from(f"{FIELDS} {MORE_FIELDS}".split(" ")), values)
requests = st.builds(
    lambda verb, rest: json.dumps({**rest, "command": verb}).encode() + b"\n",
    st.sampled_from(VERBS.split(" ")),
    fields,
)
anything = st.lists(requests | st.binary(max_size=60) | st.just(b"\n"), max_size=5).map(b"".join)


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    with Amoc(tmp_path_factory.mktemp("fuzz")) as amoc:
        for found in daemons_of(amoc):
            found.master()
            yield found


def answers(path: Path, data: bytes) -> list[bytes]:
    """Send `data`, then nothing more; return the lines that came until the other side closed."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as lines:
            return lines.readlines()


PHASES = (Phase.reuse, Phase.generate, Phase.shrink)  # explanations take longer than a test may


@settings(max_examples=200, deadline=None, suppress_health_check=[*HealthCheck], phases=PHASES)
@given(anything)
def test_each_line_is_answered_whatever_it_is(daemons: Daemons, data: bytes) -> None:
    lines = data.split(b"\n")
    got = answers(daemons.home.socket("master"), data)
    assert len(got) == len(lines) - (lines[-1] == b"")
    for line in got:
        answer = json.loads(line)
        assert "result" in answer if answer["ok"] else "internal error" not in answer["error"]


def test_a_line_larger_than_any_is_refused_and_others_are_answered(daemons: Daemons) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(20)
        client.connect(str(daemons.home.socket("master")))
        with suppress(BrokenPipeError):
            client.sendall(b"x" * (8 << 20))
        assert daemons.control().ask({"command": "status"})["status"] == "idle"


def test_after_all_that_it_is_the_same_process(daemons: Daemons) -> None:
    assert daemons.describe()["pid"] == daemons.pid()
    assert "Traceback" not in daemons.log()
