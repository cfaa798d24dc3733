"""Who may connect: encrypted sockets admit the keys that are allowed, and name the others once."""

from collections.abc import Iterator

import gevent
import pytest
import zmq

from amoc_gevent.bus import sockets as bus
from amoc_gevent.bus.directory import SocketDirectory
from amoc_gevent.bus.sockets import Keys, Listener, Publisher, Puller, Pusher
from amoc_gevent.bus.zap import ZapAuthenticator
from tests.worker.crowd import until

LOOPBACK = "tcp://127.0.0.1:0"


class Guarded:
    """A master's sockets behind an authenticator that knows the keys in `allowed`."""

    def __init__(self) -> None:
        self.allowed: dict[str, str] = {}
        self.authenticator = ZapAuthenticator(lambda: self.allowed)
        self.public, secret = zmq.curve_keypair()
        keys = Keys(self.public, secret)
        self.sockets = SocketDirectory()
        self.here = [self.sockets.endpoint(name) for name in ("plans", "reports")]
        self.publisher = Publisher(LOOPBACK, keys, self.here[0])
        self.puller = Puller(LOOPBACK, keys, local=self.here[1])
        self.reports: list[bytes] = []
        self._collecting = gevent.spawn(self._collect)

    def _collect(self) -> None:
        while True:
            self.reports.append(self.puller.pull())

    def machine(self, name: str = "") -> Keys:
        """Return the keys of a machine, which is allowed where it has a name."""
        public, secret = zmq.curve_keypair()
        if name:
            self.allowed[public.decode()] = name
        return Keys(public, secret, self.public)

    def close(self) -> None:
        self._collecting.kill()
        self.publisher.close()
        self.puller.close()
        self.authenticator.close()
        self.sockets.close()


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    found = Guarded()
    yield found
    found.close()


def test_a_machine_that_is_allowed_speaks_and_hears(guarded: Guarded) -> None:
    keys = guarded.machine("n1")
    pusher = Pusher(guarded.puller.endpoint, keys=keys)
    listener = Listener(guarded.publisher.endpoint, (b"plan/",), keys)
    heard: list[tuple[bytes, list[bytes]]] = []
    listening = gevent.spawn(lambda: heard.append(listener.receive()))
    pusher.push(b"report")
    until(lambda: guarded.reports == [b"report"])
    until(lambda: guarded.publisher.send(b"plan/", b"data") or heard)
    assert heard == [(b"plan/", [b"data"])]
    listening.kill()
    pusher.close()
    listener.close()


def test_the_node_of_the_home_needs_no_keys(guarded: Guarded) -> None:
    pusher, listener = Pusher(guarded.here[1]), Listener(guarded.here[0], (b"plan/",))
    heard: list[tuple[bytes, list[bytes]]] = []
    listening = gevent.spawn(lambda: heard.append(listener.receive()))
    pusher.push(b"report")
    until(lambda: guarded.reports == [b"report"])
    until(lambda: guarded.publisher.send(b"plan/", b"data") or heard)
    assert heard == [(b"plan/", [b"data"])]
    listening.kill()
    pusher.close()
    listener.close()


@pytest.mark.parametrize("kind", ["unknown", "revoked", "no keys", "another master's key"])
def test_others_are_kept_out(guarded: Guarded, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    keys: Keys | None = guarded.machine("n1" if kind != "unknown" else "")
    assert keys is not None
    if kind == "revoked":
        guarded.allowed.clear()
    elif kind == "another master's key":
        keys = Keys(keys.public, keys.secret, zmq.curve_keypair()[0])
    elif kind == "no keys":
        keys = None
    stranger = Pusher(guarded.puller.endpoint, linger=0, keys=keys)
    stranger.push(b"intruder")
    friend = Pusher(guarded.puller.endpoint, keys=guarded.machine("friend"))
    for _ in range(5):
        friend.push(b"friend")
    until(lambda: len(guarded.reports) == 5)
    if kind in {"unknown", "revoked"}:
        until(lambda: caplog.records, "the stranger to be named")
        assert "is not allowed: amoc keys allow" in caplog.records[0].message
        assert "127.0.0.1" in caplog.records[0].message
    assert set(guarded.reports) == {b"friend"}
    stranger.close()
    friend.close()


def test_a_key_that_is_allowed_later_is_let_in_then(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "SILENCE_MS", 400)  # after so long a refused handshake is tried again
    keys = guarded.machine()
    pusher = Pusher(guarded.puller.endpoint, keys=keys)
    pusher.push(b"patient")
    until(lambda: guarded.authenticator._refused_keys, "the first refusal")
    guarded.allowed[keys.public.decode()] = "n1"
    until(lambda: guarded.reports == [b"patient"])
    pusher.close()


def test_an_oversized_message_cuts_its_sender_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus, "MESSAGE_MAX", 1000)
    puller = Puller(LOOPBACK)
    monkeypatch.setattr(bus, "MESSAGE_MAX", 1 << 20)
    sender, other = Pusher(puller.endpoint, linger=0), Pusher(puller.endpoint)
    got: list[bytes] = []
    pulling = gevent.spawn(lambda: [got.append(puller.pull()) for _ in range(2)])
    sender.push(b"x" * 2000)
    for _ in range(2):
        other.push(b"fine")
    until(lambda: len(got) == 2)
    assert got == [b"fine"] * 2
    pulling.kill()
    for socket in (puller, sender, other):
        socket.close()


def test_a_gate_that_was_closed_is_opened_again_at_once() -> None:
    for _ in range(200):
        ZapAuthenticator(dict).close()
