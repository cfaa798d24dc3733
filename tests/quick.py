"""Tell the tests that start processes, real servers included, from the quick ones.

The marker `processes` is set for the fixtures and the rooms below, else by the test itself. A test
that starts a process without it fails, so that `make quick` stays quick.
"""

import sys
from collections.abc import Iterator

import pytest

FIXTURES = {"_demo", "_nginx", "carbon", "ejabberd", "httpbin", "prosody", "release", "xmpp_server"}
ROOMS = ("tests/hosts/", "tests/integration/", "tests/net/")
STARTS = {"os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen"}

_started: list[str] = []


def mark(items: list[pytest.Item]) -> None:
    """Mark the tests whose fixtures or rooms start processes."""
    for item in items:
        if FIXTURES & set(getattr(item, "fixturenames", ())) or item.nodeid.startswith(ROOMS):
            item.add_marker("processes")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that has started a process and is not marked for it."""
    del _started[:]
    yield
    if _started and item.get_closest_marker("processes") is None:
        pytest.fail("it starts a process: mark it with pytest.mark.processes", pytrace=False)


def _note(event: str, _arguments: tuple[object, ...]) -> None:
    if event in STARTS:
        _started.append(event)


sys.addaudithook(_note)
