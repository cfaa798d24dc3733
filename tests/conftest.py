"""Fixtures for all tests: real servers, started once and ended for sure."""

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent import subprocess
from hypothesis import settings

from amoc_gevent.demo.http import DemoServer
from tests import quick
from tests.graphite_servers import Carbon, GraphiteWeb
from tests.quick import pytest_runtest_call  # noqa: F401  # a hook: it guards quick tests
from tests.rights import pytest_sessionfinish  # noqa: F401  # a hook: the last line
from tests.servers import ROOT, Authority, Demo, Httpbin, MissingServerError, Nginx
from tests.xmpp_servers import Ejabberd, Prosody, XmppServer

# A busy machine is slow: no example fails for the time that it took.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell starts what it runs in the background; the commands that are tested would inherit
    # it, and Ctrl-C is one of the things that are tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts processes; begin with the longest test, others run beside it."""
    quick.mark(items)
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority: its file, and certificates for servers and clients."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def _nginx(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[Nginx]:
    try:
        server = Nginx(tmp_path_factory.mktemp("nginx"), ca)
    except MissingServerError as missing:
        pytest.fail(str(missing), pytrace=False)
    yield server
    server.process.stop()


@pytest.fixture
def nginx(_nginx: Nginx) -> Nginx:
    """nginx, with no request logged yet."""
    _nginx.forget()
    return _nginx


@pytest.fixture(scope="session")
def httpbin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Httpbin]:
    """httpbin under gunicorn."""
    server = Httpbin(tmp_path_factory.mktemp("httpbin"))
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def _demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    server = Demo(tmp_path_factory.mktemp("demo"))
    yield server
    server.process.stop()


@pytest.fixture
def demo(_demo: Demo) -> Demo:
    """The demo server in a process of its own, with no request counted yet."""
    _demo.reset()
    return _demo


@pytest.fixture
def demo_here() -> Iterator[DemoServer]:
    """The demo server on the hub of the test, for clients that yield to it."""
    with DemoServer() as server:
        yield server


def _started(
    kind: type[XmppServer], places: pytest.TempPathFactory, ca: Authority
) -> Iterator[XmppServer]:
    try:
        server = kind(places.mktemp(kind.name), ca)
    except MissingServerError as missing:
        pytest.fail(str(missing), pytrace=False)
    with server:
        yield server


@pytest.fixture(scope="session")
def prosody(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[XmppServer]:
    """Debian's Prosody."""
    yield from _started(Prosody, tmp_path_factory, ca)


@pytest.fixture(scope="session")
def ejabberd(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[XmppServer]:
    """Debian's ejabberd."""
    yield from _started(Ejabberd, tmp_path_factory, ca)


@pytest.fixture(params=["prosody", "ejabberd"])
def xmpp_server(request: pytest.FixtureRequest) -> XmppServer:
    """Each real XMPP server in turn."""
    server: XmppServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An AMOC_HOME of its own for the test and the processes that it starts."""
    monkeypatch.setenv("AMOC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def carbon(tmp_path: Path) -> Iterator[Carbon]:
    """carbon with a point for each second, not started."""
    (tmp_path / "carbon").mkdir()
    try:
        server = Carbon(tmp_path / "carbon")
    except MissingServerError as missing:
        pytest.fail(str(missing), pytrace=False)
    yield server
    server.close()


@pytest.fixture
def graphite_web(carbon: Carbon) -> Iterator[GraphiteWeb]:
    """graphite-web over the files of `carbon`, without an event yet."""
    try:
        server = GraphiteWeb(carbon)
    except MissingServerError as missing:
        pytest.fail(str(missing), pytrace=False)
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release of this checkout, made once for all processes that run tests."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    target = place / "amoc"
    with (place / "amoc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _make_release(target)
    return target


def _make_release(target: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy/release.py"), str(target)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
