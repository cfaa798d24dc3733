"""Plain streams against scripted peers: times, timeouts, ends and big writes."""

import gc
import resource
import socket
import struct
import threading

import gevent
import pytest

from amoc_gevent import clock, metrics
from amoc_gevent.transport import (
    Peer,
    Transport,
    TransportError,
    TransportTimeout,
    connect,
    connecting,
)
from tests.contention import busy_core, run_on
from tests.servers import wait_for
from tests.test_clock import AHEAD_NS, READING_NS, PreemptedClocks
from tests.transport.scripted import Scripted, refused_port, resets, stays_silent


def echo(sock):
    while data := sock.recv(65536):
        sock.sendall(data)


def open_to(server: Scripted, **options) -> Transport:
    return connect(Peer("127.0.0.1", server.port), 5, **options)


@pytest.fixture
def echoing():
    with Scripted(echo) as server:
        stream = open_to(server)
        stream.read_timeout = 5
        yield stream
        stream.close()


class Threaded:
    """A server in its own thread, so that it answers while the hub of the test is blocked."""

    def __init__(self, answer_after: float) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._answer_after = answer_after
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        with sock:
            while data := sock.recv(65536):
                threading.Event().wait(self._answer_after)
                sock.sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        self._thread.join(5)


def block_hub(seconds: float) -> None:
    """Block this thread with all its greenlets."""
    threading.Event().wait(seconds)


def test_an_echo_arrives_with_the_kernel_timestamp(echoing):
    echoing.send(b"hello")
    assert echoing.receive() == b"hello"
    assert echoing.stamped
    assert echoing.sent <= echoing.arrived <= clock.monotonic()


def test_waiting_for_a_busy_process_counts_as_lag_and_not_as_latency():
    with Threaded(answer_after=0.01) as server:
        stream = connect(Peer("127.0.0.1", server.port), 5)
        gevent.spawn(block_hub, 0.3)
        metrics.recorder.reset()
        stream.send(b"x")
        stream.receive()
        stream.close()
    latency = stream.arrived - stream.sent
    assert 0.01 <= latency < stream.lag
    assert metrics.recorder.take().lag.max == pytest.approx(stream.lag * 1e6, rel=0.01)


def test_an_answer_in_time_is_accepted_even_if_the_process_reads_it_late():
    with Threaded(answer_after=0.01) as server:
        stream = connect(Peer("127.0.0.1", server.port), 5)
        stream.read_timeout = 0.15
        gevent.spawn(block_hub, 0.4)
        stream.send(b"x")
        assert stream.receive() == b"x"
        stream.close()


def test_a_late_answer_times_out_even_if_it_is_there_when_the_timer_fires():
    with Threaded(answer_after=0.25) as server:
        stream = connect(Peer("127.0.0.1", server.port), 5)
        stream.read_timeout = 0.05
        gevent.spawn(block_hub, 0.5)
        stream.send(b"x")
        with pytest.raises(TransportTimeout, match="read time-out"):
            stream.receive()
        stream.close()


def test_without_a_timestamp_arrival_is_the_time_of_the_read_and_lag_is_0(echoing):
    echoing._socket.setsockopt(socket.SOL_SOCKET, 35, 0)
    echoing.send(b"x")
    metrics.recorder.reset()
    echoing.receive()
    assert not echoing.stamped
    assert echoing.lag == 0
    assert metrics.recorder.take().lag.count == 0


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_setting_the_wall_clock_while_an_answer_is_on_its_way_leaves_latency_unchanged(
    echoing, monkeypatch, step_s
):
    wall_ns = clock.wall_ns
    echoing.send(b"x")
    monkeypatch.setattr(clock, "wall_ns", lambda: wall_ns() + step_s * 10**9)
    monkeypatch.setattr(clock, "wall_origin_until", 0.0)
    echoing.receive()
    # the timestamp is of the old time, so it seems an hour old or an hour ahead
    assert echoing.arrived <= clock.monotonic()
    assert echoing.lag >= 0


class Stamped:
    """A socket whose bytes arrived at a given wall time."""

    def __init__(self, stamp_ns: int) -> None:
        self._ancillary = [(socket.SOL_SOCKET, 35, struct.pack("qq", *divmod(stamp_ns, 10**9)))]

    def recvmsg(self, *_sizes):
        return b"x", self._ancillary, 0, None

    def send(self, data):
        return len(data)

    def close(self):
        pass


@pytest.mark.parametrize("reading", range(8))
def test_a_preemption_between_two_readings_of_clocks_does_not_move_an_arrival(monkeypatch, reading):
    clocks = PreemptedClocks({reading: 3_000_000})
    stamp = clocks.now - 25_000
    stream = Transport(Stamped(stamp + AHEAD_NS), Stamped(0), "peer")
    clocks.replace(monkeypatch)
    stream.poll()
    assert stream.arrived == pytest.approx(stamp / 1e9, abs=2 * READING_NS / 1e9)


def test_a_step_of_the_wall_clock_is_noticed_within_a_millisecond(monkeypatch):
    clocks = PreemptedClocks({})
    clocks.replace(monkeypatch)
    Transport(Stamped(clocks.now + AHEAD_NS), Stamped(0), "peer").poll()
    clocks.ahead_ns += 3600 * 10**9
    clocks.now += 1_001_000
    stamp = clocks.now - 25_000
    stream = Transport(Stamped(stamp + clocks.ahead_ns), Stamped(0), "peer")
    stream.poll()
    assert stream.arrived == pytest.approx(stamp / 1e9, abs=2 * READING_NS / 1e9)


EXCHANGES = """
import json, socket, time
from amoc_gevent import clock
from amoc_gevent.transport import Peer, connect

listener = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := sock.recv(100):
        until = time.monotonic_ns() + 10_000
        while time.monotonic_ns() < until:
            pass
        sock.sendall(data)
    os._exit(0)
stream = connect(Peer(*listener.getsockname()), 5)
stream.read_timeout = 30
end, shortest = clock.monotonic() + 4, 1.0
for _ in range(20_000):
    stream.send(b"x")
    stream.receive()
    shortest = min(shortest, stream.arrived - stream.sent)
    if clock.monotonic() > end:
        break
stream.close()
os.wait()
print(json.dumps(shortest))
"""


@pytest.mark.processes
def test_no_latency_is_shorter_than_the_peer_took_on_a_busy_core():
    with busy_core(2) as core:
        assert run_on(core, EXCHANGES) > 10e-6


@pytest.mark.parametrize(
    ("read", "total", "kind"),
    [(0.03, 60, "read time-out"), (60, 0.03, "total time-out")],
)
def test_a_silent_peer_hits_the_earlier_timeout(read, total, kind):
    with Scripted(stays_silent) as server:
        stream = open_to(server)
        stream.read_timeout, stream.total_deadline = read, clock.monotonic() + total
        with pytest.raises(TransportTimeout) as raised:
            stream.receive()
        assert raised.value.kind == kind
        stream.close()


def test_each_read_restarts_the_read_timeout_but_not_the_total_one():
    def drips(sock):
        while True:
            sock.sendall(b".")
            gevent.sleep(0.02)

    with Scripted(drips) as server:
        stream = open_to(server)
        stream.read_timeout, stream.total_deadline = 5, clock.monotonic() + 0.2
        read = []
        with pytest.raises(TransportTimeout, match="total time-out"):
            read.extend(iter(stream.receive, b""))
        assert len(read) > 2
        stream.close()


def test_a_write_that_the_peer_does_not_read_times_out():
    with Scripted(stays_silent) as server:
        stream = open_to(server)
        stream.read_timeout = 0.05
        with pytest.raises(TransportTimeout, match="read time-out"):
            stream.send(bytes(64 << 20))
        stream.close()


def test_a_big_write_to_a_slow_reader_arrives_whole():
    received = bytearray()
    data = bytes(range(256)) * (16 << 10)

    def reads_slowly(sock):
        while len(received) < len(data):
            received.extend(sock.recv(4096))
        sock.sendall(b"thanks")

    with Scripted(reads_slowly) as server:
        stream = open_to(server)
        stream.read_timeout = 10
        stream.send(data)
        assert stream.receive() == b"thanks"
        stream.close()
    assert received == data


def test_an_answer_during_a_long_write_is_read_after_it():
    size = 8 << 20

    def answers_first(sock):
        sock.sendall(b"early")
        left = size
        while left:
            left -= len(sock.recv(65536))

    with Scripted(answers_first) as server:
        stream = open_to(server)
        stream.read_timeout = 10
        stream.send(bytes(size))
        assert stream.receive() == b"early"
        stream.close()


def test_the_end_of_the_peers_stream_reads_as_empty_bytes():
    with Scripted(lambda sock: sock.recv(1)) as server:
        stream = open_to(server)
        stream.read_timeout = 5
        stream.send(b"x")
        assert stream.receive() == b""
        stream.close()


def test_a_reset_has_its_own_error_kind():
    with Scripted(lambda sock: sock.recv(1) and resets(sock)) as server:
        stream = open_to(server)
        stream.read_timeout = 5
        stream.send(b"x")
        with pytest.raises(TransportError) as raised:
            stream.receive()
        assert raised.value.kind == "connection reset"
        stream.close()


def test_an_idle_stream_notices_that_its_peer_closed():
    with Scripted(lambda sock: None) as server:
        stream = open_to(server)
        wait_for(lambda: stream.waiter.unread)
        assert stream.ended()
        stream.close()


def test_an_idle_stream_that_is_open_has_not_ended(echoing):
    gevent.idle()
    assert not echoing.waiter.unread
    assert not echoing.ended()


def test_bytes_that_arrive_while_no_greenlet_waits_are_read_later():
    with Scripted(lambda sock: sock.sendall(b"unasked") or stays_silent(sock)) as server:
        stream = open_to(server)
        stream.read_timeout = 5
        wait_for(lambda: stream.waiter.unread)
        assert stream.receive() == b"unasked"
        stream.close()


def test_a_dropped_stream_closes_at_once_without_the_garbage_collector():
    seen = []
    with Scripted(lambda sock: seen.append(sock.recv(1))) as server:
        gc.disable()
        try:
            stream = open_to(server)
            stream.read_timeout = 5
            stream.send(b"")
            del stream
            wait_for(lambda: seen == [b""])
        finally:
            gc.enable()


def test_a_greenlet_killed_in_its_wait_leaves_the_stream_usable_for_closing():
    with Scripted(stays_silent) as server:
        stream = open_to(server)
        waiting = gevent.spawn(stream.receive)
        gevent.idle()
        waiting.kill()
        assert not stream.closed
        stream.close()
        stream.close()


@pytest.mark.parametrize(
    ("host", "port", "kind"),
    [
        ("127.0.0.1", None, "connection refused"),
        ("no-such-name.invalid", 80, "name not found"),
        ("a" * 64 + ".invalid", 80, "name not found"),
    ],
)
def test_a_failed_connect_names_the_reason(host, port, kind):
    with pytest.raises(TransportError) as raised:
        connect(Peer(host, port or refused_port()), 10)
    assert raised.value.kind == kind


def full_backlog():
    """A listening socket with a full backlog, so that a connect hangs, and the sockets in it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    return listener, fillers


@pytest.mark.parametrize(
    ("timeout", "total", "kind"),
    [(0.05, 60, "connect time-out"), (60, 0.05, "total time-out")],
)
def test_a_hanging_connect_hits_the_earlier_timeout(timeout, total, kind):
    listener, fillers = full_backlog()
    with pytest.raises(TransportTimeout) as raised:
        connect(Peer("127.0.0.1", listener.getsockname()[1]), timeout, clock.monotonic() + total)
    assert raised.value.kind == kind
    for sock in (listener, *fillers):
        sock.close()


def test_each_address_of_a_name_is_tried(monkeypatch):
    with Scripted(echo) as server:
        addresses = [
            (socket.AF_INET6, ("::1", server.port, 0, 0)),
            (socket.AF_INET, ("127.0.0.2", refused_port())),
            (socket.AF_INET, ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(connecting, "resolve", lambda *_: addresses)
        stream = connect(Peer("three.example", 80), 5)
        assert stream._socket.getpeername() == ("127.0.0.1", server.port)
        stream.close()


def test_ipv6_works():
    with Scripted(echo, host="::1") as server:
        stream = connect(Peer("::1", server.port), 5)
        stream.read_timeout = 5
        stream.send(b"six")
        assert stream.receive() == b"six"
        assert stream.peer == f"[::1]:{server.port}"
        stream.close()


@pytest.mark.parametrize("source", ["127.0.0.7", ("127.0.0.7", 0)])
def test_a_stream_connects_from_the_given_source_address(source):
    seen = []
    with Scripted(lambda sock: seen.append(sock.getpeername()[0])) as server:
        stream = connect(Peer("127.0.0.1", server.port, source=source), 5)
        wait_for(lambda: seen == ["127.0.0.7"])
        stream.close()


def test_streams_lost_in_a_cycle_are_collected_before_descriptors_run_out(monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = Peer("127.0.0.1", listener.getsockname()[1])
        gc.disable()
        try:
            with socket.socket() as probe:
                limit = probe.fileno() + 8
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            for _ in range(40):
                lost = [connect(peer, 5)]
                lost.append(lost)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            gc.enable()


def test_too_many_open_files_have_their_own_error_kind():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = [connect(Peer("127.0.0.1", listener.getsockname()[1]), 5)]
        try:
            with socket.socket() as probe:
                resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno(), hard))
            with pytest.raises(TransportError) as raised:
                held += [connect(Peer("127.0.0.1", listener.getsockname()[1]), 5) for _ in range(9)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert raised.value.kind == "too many open files"


def test_connect_time_is_measured_by_the_kernel_without_time_the_process_was_busy():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gevent.spawn(block_hub, 0.2)
        began = clock.monotonic()
        stream = connect(Peer("127.0.0.1", listener.getsockname()[1]), 5)
        elapsed = clock.monotonic() - began
        stream.close()
    assert elapsed > 0.2
    assert 0 < stream.connect_us / 1e6 < elapsed / 2
